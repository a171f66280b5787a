"""What a failed verification most likely comes from, in one line, told from which quantities fail in which cases.

Each case is counted where it fails first: a wrong result makes wrong gradients, and these wrong parameters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .check import Check

ANSWERS = "answers"  # what a trainer says of itself, judged as a case is
SHOWN = 3  # cases named
LATE = "dropout", "evaluation"  # stages that a wrong result in training makes wrong too, where it cannot show
RUNNING = ".running_mean", ".running_var"
MASKS = {
    "drops": "it never drops where it trains",
    "shown": "what was shown of its masks is missing or misshapen",
    "zeros": "the share of zeros is not the rate",
    "zeros-in-steps": "a step does not drop the share that it should",
    "scale": "the survivors are not times 1 / (1 - rate)",
    "step": "the backward pass does not take the forward pass's mask and scale",
    "steps-differ": "every step has the same mask",
    "samples-differ": "all samples share a mask",
    "workers-differ": "all workers draw the same mask",
    "neighbours-differ": "neighbouring elements are dropped together",
}


@dataclass(frozen=True)
class Evidence:
    """What is known of a case beside its checks: what it pins, its ops, whether it trains; of one that failed also the
    layer that diverges first, what it raised, and the known mistakes that would make what was seen.
    """

    pins: str
    ops: frozenset[str] = frozenset()
    trains: bool = True
    layer: str | None = None
    raised: str | None = None
    carries: bool = False  # something from step to step
    suspects: tuple[str, ...] = ()

    @property
    def op(self) -> str:
        """Return the op of the layer that diverges first."""
        return (self.layer or "").partition(" ")[0]


Known = Mapping[str, Evidence]  # by case


def diagnose(checks: Sequence[Check], known: Known) -> str | None:
    """Return what is wrong with a backend in one line, the most basic first; None if all checks passed.

    ``known`` has the evidence of every case that was tried.
    """
    failed: dict[str, list[Check]] = {}
    for check in checks:
        if not check.passed:
            failed.setdefault(check.case, []).append(check)
    stages: dict[str, list[str]] = {}
    for case, wrong in failed.items():
        stages.setdefault(stage(wrong, [c for c in checks if c.case == case]), []).append(case)
    left = without_consequences(stages, known)
    return "; ".join(words(left[name], known, failed) for name, words in STAGES.items() if name in left) or None


def without_consequences(stages: Mapping[str, Sequence[str]], known: Known) -> dict[str, list[str]]:
    """Return the failed cases by stage, less those that something more basic explains."""
    ops = {known[case].op for case in stages.get("activation", ())}
    left = {name: [case for case in cases if name not in LATE or not ops & known[case].ops]
            for name, cases in stages.items()}
    if shared_by(stages.get("gradient", ()), known):
        left.pop("dropout", None)  # whose masks are seen by way of the gradients of all workers
    return {name: cases for name, cases in left.items() if cases}


def stage(failed: Sequence[Check], checks: Sequence[Check]) -> str:
    """Return where a case fails first."""
    if failed[0].case == ANSWERS:
        return ANSWERS
    kinds = {check.quantity.partition("/")[0] for check in failed}
    moved = [check for check in failed if check.quantity.startswith("parameter/")]
    if len(failed) == len(checks) > 1 and all(check.error == float("inf") for check in checks):
        return "missing"
    if moved and all(check.quantity.endswith(RUNNING) for check in moved):
        kinds = kinds - {"parameter"} | {"statistics"}
    return next((name for name in STAGES if name in kinds), "evaluation")


def of_raised(cases: Sequence[str], known: Known, failed: object) -> str:
    first = known[cases[0]].raised or "an exception"
    if len(cases) == len(known):
        return f"no case could be run: {first}"
    op, others = culprit(cases, known), len({known[case].raised for case in cases}) - 1  # other reasons
    what = f"op {op} cannot be run" if op else "the backend raised an exception"
    more = f", and {others} more" if others else ""
    return f"{what} ({first}{more}) in {listed(cases)}"


def of_missing(cases: Sequence[str], known: Known, failed: Mapping[str, Sequence[Check]]) -> str:
    which = "every case" if len(cases) == len(known) else listed(cases)
    return f"in {which} all that was shown is missing or misshapen, from {failed[cases[0]][0].quantity} on"


def of_forward(cases: Sequence[str], known: Known, failed: object) -> str:
    ops = Counter(known[case].op for case in cases)
    if len(ops) > 1:
        counted = ", ".join(f"{op} ({count})" for op, count in ops.most_common())
        return f"several ops: results in training are wrong; of the cases that fail, first are {counted}"
    (op,) = ops
    having = [case for case in known if op in known[case].ops]
    return f"op {op}: its result in training is wrong in {share(cases, having, 'that has it', 'that have it')}" + about(
        cases, known)


def of_gradient(cases: Sequence[str], known: Known, failed: object) -> str:
    where = f"results are right, gradients wrong in {training(cases, known)}"
    if shared := shared_by(cases, known):
        return f"the all-reduce: {' or '.join(shared)} ({where})"
    if op := culprit(cases, known):
        return f"op {op}: its gradient ({where})" + about(cases, known)
    layer = (known[cases[0]].layer or "").rpartition(" (")[0]
    return f"a gradient, first that of {layer} or of what follows it ({where})" + about(cases, known)


def of_parameter(cases: Sequence[str], known: Known, failed: object) -> str:
    where = f"results and gradients are right, parameters wrong after the steps in {training(cases, known)}"
    if shared := shared_by(cases, known):
        return f"the optimiser: {' or '.join(shared)} ({where})"
    if all(known[case].carries for case in cases):
        return f"what a step carries on to the next ({where})" + about(cases, known)
    return f"the optimiser, in none of the usual ways ({where})" + about(cases, known)


def of_statistics(cases: Sequence[str], known: Known, failed: object) -> str:
    return f"op {known[cases[0]].op}: only its running statistics are wrong" + about(cases, known)


def of_loss(cases: Sequence[str], known: Known, failed: object) -> str:
    return f"the loss that wait() returns is wrong in {listed(cases)}, not what the network computes"


def of_dropout(cases: Sequence[str], known: Known, failed: Mapping[str, Sequence[Check]]) -> str:
    found = [check.quantity.partition("/")[2] for check in failed[cases[0]] if check.quantity.startswith("dropout/")]
    told = found[:1] if found[0] == "drops" else found[:2]
    return f"op dropout in training: {' and '.join(MASKS[name] for name in told)}"


def of_evaluation(cases: Sequence[str], known: Known, failed: object) -> str:
    op = culprit(cases, known)
    ops = [op] if op else sorted({known[case].op for case in cases})
    return f"op{'s' * (len(ops) > 1)} {', '.join(ops)}: wrong in evaluation alone" + about(cases, known)


def of_clock(cases: Sequence[str], known: Known, failed: object) -> str:
    return "the clock: wait() returns before the step's work is over, so what is timed is too short"


def of_answers(cases: Sequence[str], known: Known, failed: Mapping[str, Sequence[Check]]) -> str:
    empty = [f"{check.quantity}()" for check in failed[cases[0]]]
    tell = "tells" if len(empty) == 1 else "tell"
    return f"{' and '.join(empty)} of the trainer {tell} nothing: records could not say what was measured"


STAGES = {"raised": of_raised, "missing": of_missing, "activation": of_forward, "gradient": of_gradient,
          "parameter": of_parameter, "statistics": of_statistics, "loss": of_loss, "dropout": of_dropout,
          "evaluation": of_evaluation, "clock": of_clock, ANSWERS: of_answers}


def culprit(cases: Iterable[str], known: Known) -> str | None:
    """Return the one op that all those cases have and no other case, if there is one."""
    wrong = set(cases)
    found = frozenset.intersection(*(known[case].ops for case in wrong))
    alone = found.difference(*(one.ops for case, one in known.items() if case not in wrong))
    return next(iter(alone)) if len(alone) == 1 else None


def shared_by(cases: Iterable[str], known: Known) -> list[str]:
    """Return the suspects of all those cases; of a whole network, and of what raised, there are none to be had."""
    found = [known[case].suspects for case in cases if known[case].suspects]
    return [name for name in found[0] if all(name in others for others in found)] if found else []


def training(cases: Sequence[str], known: Known) -> str:
    """Return how many those cases are of the ones that train."""
    return share(cases, [case for case, one in known.items() if one.trains], "that trains", "that train")


def share(cases: Sequence[str], of: Sequence[str], one: str, several: str) -> str:
    """Return how many cases of some those are; the words say what the latter have in common."""
    if len(of) == 1:
        return f"the one case {one}"
    return f"{'all' if len(cases) == len(of) else f'{len(cases)} of the'} {len(of)} cases {several}"


def about(cases: Sequence[str], known: Known) -> str:
    """Return which cases those are; of one alone also what it pins."""
    return f"; {cases[0]}: {known[cases[0]].pins}" if len(cases) == 1 else f"; {listed(cases)}"


def listed(cases: Sequence[str]) -> str:
    more = f" and {len(cases) - SHOWN} more" if len(cases) > SHOWN else ""
    return ", ".join(cases[:SHOWN]) + more


def compare_workers(outcomes: Sequence[tuple[int, str | None]]) -> str | None:
    """Return what several outcomes of one backend say together, each of some workers and with its diagnosis.

    None where nothing failed, or all failed alike.
    """
    right = [workers for workers, wrong in outcomes if wrong is None]
    wrong = [workers for workers, wrong in outcomes if wrong is not None]
    if not right or not wrong:
        return None
    if max(right) < min(wrong):
        return f"right with {joined(right)}, wrong with {joined(wrong)}: look at what the workers exchange"
    return f"right with {joined(right)}, wrong with {joined(wrong)}"


def joined(workers: Sequence[int]) -> str:
    return f"{', '.join(map(str, workers))} worker{'s' * (list(workers) != [1])}"
