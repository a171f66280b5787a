"""Which rule's ranges serve a network best, whether balancing helps it, and what fewer bits of weights cost: tried,
not believed.

Every candidate is quantised from the one artifact and run in exact arithmetic on samples held back from calibration, so
what decides is the network's own answers and no engine's kernels.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from dlcompare.inference.onnx.export import save
from dlcompare.inference.precision.ranges import RULES

from .exact import Exact, decibels, score
from .scratch import scratch

if TYPE_CHECKING:
    import onnx

AS_GOOD = 2  # samples that a rule may answer otherwise than the best one: so few say less than the logits' noise
Json = dict[str, Any]


class Files(Protocol):
    """What a run's files offer to whoever quantises otherwise."""

    folder: Path

    @property
    def base(self) -> onnx.ModelProto: ...

    def float_file(self) -> Path: ...

    @property
    def balanced(self) -> Files | None: ...

    def rule(self, scheme: str, bits: int) -> str: ...

    def ranges(self, scheme: str, rule: str) -> Mapping[str, tuple[float, float]]: ...


class Way(NamedTuple):
    """A way of quantising: whose network, how many bits its weights take, by which rule."""

    files: Files
    bits: int
    rule: str


def rank(files: Files, exact: Exact, scheme: str, bits: int) -> list[Json]:
    """Return all rules, on the network as it is and, where that may serve, on the balanced one, best first: by the
    logits' noise among those that answer as FP32 does on as good as as many samples as any, then the others. JobError
    if they cannot be tried."""
    networks = {False: files, **({True: files.balanced} if files.balanced else {})}
    ways = {f"{rule}{', balanced' if balanced else ''}": Way(one, bits, rule)
            for balanced, one in networks.items() for rule in RULES}
    found = tried(files, exact, scheme, ways)
    best = max(one["agreement"] for one in found.values())
    samples = len(exact.preparation.samples.held)
    rows = [{"rule": way.rule, "balanced": way.files is not files, **found[name]} for name, way in ways.items()]
    return sorted(rows, key=lambda one: (one["agreement"] < best - AS_GOOD / samples, -decibels(one["sqnr_db"])))


def cost(files: Files, exact: Exact, scheme: str, bits: int) -> Json:
    """Return the logits' signal to noise with weights of all eight bits and of fewer, by number of bits."""
    found = tried(files, exact, scheme, {str(one): Way(files, one, files.rule(scheme, bits)) for one in (8, bits)})
    return {name: one["sqnr_db"] for name, one in found.items()}


def tried(files: Files, exact: Exact, scheme: str, ways: Mapping[str, Way]) -> dict[str, Json]:
    """Return how near each way of quantising comes to FP32."""
    with scratch(files.folder / "judged") as folder:
        paths = {"fp32": files.float_file()}
        for number, (name, way) in enumerate(ways.items()):
            paths[name] = write(way, folder / f"{number}.onnx", scheme)
        answers = exact.answers(paths, f"INT8 by {'; '.join(ways)}" if len(ways) > 2 else "INT8 weights, exact")
    return {name: score(answers["fp32"], answers[name]) for name in ways}


def write(way: Way, file: Path, scheme: str) -> Path:
    """Write the network as one way of quantising makes it."""
    from dlcompare.inference.precision.quantise import quantise

    save(quantise(way.files.base, way.files.ranges(scheme, way.rule), scheme=scheme, weight_bits=way.bits), file)
    return file
