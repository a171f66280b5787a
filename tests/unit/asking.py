"""Ask a kind of measurement for its plan as the command line does, on small images and a CPU unless said otherwise."""

from typing import Any

from dlcompare.core.judging.judging import AS_USUAL, Judging
from dlcompare.core.kinds.kind import Request, kind
from dlcompare.core.plan.plan import Plan, Repetition, Tell, silent

SMALL = {"model": "resnet18", "device": "cpu", "image_size": 32}


def planned(*frameworks: str, of: str = "training", rounds: int = 1, until: float | None = None,
            judging: Judging = AS_USUAL, own: dict[str, Any] | None = None, tell: Tell = silent,
            **settings: Any) -> Plan:
    """Return the plan of a kind; ``own`` are its options beside the fields of its job."""
    wanted = kind(of)
    request = Request({"framework": ",".join(frameworks), **SMALL, **settings}, wanted.own(**(own or {})),
                      Repetition(rounds, until), judging, tell)
    return wanted.plan(request)
