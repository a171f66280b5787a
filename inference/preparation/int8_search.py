"""Bring an INT8 network back to the accuracy floor: other rules, equalised, then the worst tensors, as few as do, in
FP32. What is tried stays an INT8 network: one with nothing left in INT8 holds any floor and is of no use."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from dlcompare.core.errors import JobError, UsageError
from dlcompare.core.plugins.engine import Engine
from dlcompare.inference.cell import accuracy
from dlcompare.inference.cell.request import PREDICT_BATCH
from dlcompare.inference.onnx.multiply_adds import multiply_adds, share
from dlcompare.inference.precision.ranges import RULES

from .exact import decibels
from .model_files import Files
from .preparation import Preparation
from .sensitivities import measure

Layers = Callable[[frozenset[str]], int]
FLOOR = 0.99  # of FP32's accuracy, where the user names none: MLPerf's lower tier
Json = dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    """One way of quantising: which files, by which rule, which tensors stay in FP32, and what tables call it."""

    name: str
    files: Files
    rule: str
    exclude: frozenset[str] = frozenset()

    @property
    def label(self) -> str:
        """Return what tells its file from others: the files' own rule goes without saying."""
        other = f"-{self.rule}" if self.rule != self.files.rule() else ""
        return f"{other}-without-{len(self.exclude)}" if self.exclude else other


@dataclass(frozen=True)
class Search:
    """One engine's search; every candidate is held against the same FP32 answers on the same samples.

    ``sensitivity`` is what was measured of tensors, if it came to that.
    """

    preparation: Preparation
    engine: Engine
    reference: accuracy.Answers
    floor: float
    sensitivity: list[Json] = field(default_factory=list)

    @property
    def files(self) -> Files:
        return self.preparation.files

    @cached_property
    def counts(self) -> dict[tuple[str, str], int]:
        return multiply_adds(self.preparation.network.model)

    def try_out(self, candidate: Candidate) -> Json:
        """Return how accurate a candidate is and which share of its multiply-adds ran in INT8; how fast if it will do.
        """
        task = self.preparation.network.task
        file = candidate.files.int8(self.engine, exclude=candidate.exclude, rule=candidate.rule, name=candidate.label)
        job = self.job(file, task="predict", batch=PREDICT_BATCH, samples=self.preparation.samples.measured)
        done = self.preparation.do(job, f"{self.engine.name} int8 {candidate.name}, accuracy")
        if done.result is None:
            raise UsageError(f"the repair of {self.engine.name} stopped at {candidate.name}: {done.reason}")
        found, left = accuracy.read_answers(done.folder, task), done.result.ran.left
        row = {"name": candidate.name, "rule": candidate.rule, "equalised": candidate.files.plan.equalise,
                "file": str(file), "excluded": sorted(candidate.exclude), "left": len(left),
                "int8_share": share(self.counts, left), **accuracy.scores(found, task),
                "against_fp32": accuracy.against(self.reference, found, floor=self.floor)}
        return row | {"throughput": self.throughput(candidate, file) if passes(row) else None}

    def throughput(self, candidate: Candidate, file: Path) -> float | None:
        """Return a candidate's samples per second at the largest batch."""
        batch = max(self.preparation.asked.batches)
        done = self.preparation.do(self.job(file, batch=batch, windows=3), f"{self.engine.name} int8 {candidate.name}")
        windows = done.result.measured.windows if done.result and done.result.measured else ()
        rates = sorted(window.rate for window in windows)
        return rates[len(rates) // 2] if rates else None

    def job(self, file: Path, **more: Any) -> Any:
        """Return a job that runs one candidate's file."""
        return self.preparation.job(self.preparation.blank(self.engine, precision="int8", **more), file)

    def run(self) -> Json:
        """Return all candidates that were tried, and the outcome."""
        tried: list[Json] = []
        for candidate in self.candidates(tried):
            tried.append(self.try_out(candidate))
        best, good = choose(tried)
        outcome = (f"{best['name']} holds {self.floor:g} of FP32" if good else
                   f"nothing held {self.floor:g} of FP32 with layers left in INT8; {best['name']} came nearest")
        audit = self.preparation.audits.audit(self.engine, Path(best["file"]), self.files.float_file())
        return {"engine": self.engine.name, "verdict": "pass" if good else "fail", "outcome": outcome,
                "chosen": best["name"], "file": best["file"], "floor": self.floor, "candidates": tried,
                "batch": max(self.preparation.asked.batches),
                "sensitivity": self.sensitivity, "audit": audit}

    def candidates(self, tried: list[Json]) -> Iterator[Candidate]:
        """Yield what to try next, given what came of the last one, until the floor holds and fewer would not do."""
        for candidate in self.whole():
            yield candidate
            if passes(tried[-1]):
                return
        base = max(tried, key=merit)
        files = self.even if base["equalised"] else self.files
        yield from excluding(Candidate("", files, base["rule"]), self.worst_first(files, base["rule"]), tried,
                             self.layers_without(files))

    def whole(self) -> Iterator[Candidate]:
        """Yield the ways of quantising all of the network: as asked for, by other rules, equalised."""
        asked, rule = self.preparation.asked, self.files.rule(str(self.engine.scheme))
        yield Candidate("nothing, equalised" if asked.equalise else "nothing", self.files, rule)
        yield from (Candidate(f"nothing, by {one}", self.files, one) for one in RULES if one != rule)
        if not asked.equalise:
            yield Candidate("nothing, equalised", self.even, self.even.rule(str(self.engine.scheme)))

    @cached_property
    def even(self) -> Files:
        """Return the files of the network with its channels balanced, to be calibrated anew."""
        asked = dataclasses.replace(self.preparation.asked, equalise=True, calibration=None)
        if asked.equalise == self.preparation.asked.equalise:
            return self.files
        return Files(self.files.folder / "equalised", self.preparation.network, asked, self.preparation.collect,
                     self.files.weight_bits, self.preparation.exact)

    def layers_without(self, files: Files) -> Layers:
        """Return a function that tells how many layers are in INT8 without some tensors."""
        from dlcompare.inference.onnx.wiring import Wiring
        from dlcompare.inference.precision.placement import Placement

        wiring, scheme = Wiring.of(files.base), str(self.engine.scheme)
        return lambda names: len(Placement.of(wiring, scheme, names).layers)

    def worst_first(self, files: Files, rule: str) -> list[frozenset[str]]:
        """Return tensors in the order in which they are to stay in FP32, each with its neighbours: a layer is in INT8
        only if what it reads and what it makes both are. In the order of what was measured, of a tensor or of the
        weights that meet it; where nothing could be, of what calibration saw."""
        from dlcompare.inference.precision.sensitivity import neighbours, ranking

        scheme = str(self.engine.scheme)
        try:
            self.sensitivity[:] = measure(self.preparation, files, scheme, rule, bits=files.weight_bits(self.engine))
            worst = list(dict.fromkeys(one["tensor"] for one in self.sensitivity))
        except JobError:
            worst = [tensor for tensor, _ in ranking(files.artifact, files.ranges(scheme, rule), scheme=scheme)]
        return [neighbours(files.base, tensor) for tensor in worst]


def passes(one: Json) -> bool:
    """Return whether a candidate holds the floor and is an INT8 network."""
    return bool(one["against_fp32"]["floor"]["verdict"] == "pass") and one["int8_share"] > 0


def merit(one: Json) -> tuple[float, ...]:
    """Return what is the more the better of candidates that do not hold the floor."""
    return one["right"], decibels(one["against_fp32"]["sqnr_db"])


def choose(tried: list[Json]) -> tuple[Json, bool]:
    """Return the best candidate and whether it will do: the one with most multiply-adds in INT8, and of several the
    one with the least noise. Their speeds are too close to tell."""
    good = [one for one in tried if passes(one)]
    if good:
        return max(good, key=lambda one: (round(one["int8_share"], 3), decibels(one["against_fp32"]["sqnr_db"]))), True
    return max([one for one in tried if one["int8_share"] > 0] or tried, key=merit), False


def excluding(base: Candidate, groups: list[frozenset[str]], tried: list[Json],
              layers_without: Layers) -> Iterator[Candidate]:
    """Yield candidates that leave the first tensors in FP32: 1, 2, 4, ... of them until the floor holds, then fewer by
    bisection; never so many that no layer is left in INT8."""
    fit = (count for count in range(len(groups) + 1) if layers_without(frozenset().union(*groups[:count])))
    most = max(fit, default=0)
    fails, holds, count = 0, None, min(1, most)
    while holds is None and fails < most:
        yield leaving(base, groups, count)
        fails, holds, count = (fails, count, count) if passes(tried[-1]) else (count, None, min(2 * count, most))
    while holds is not None and holds - fails > 1:
        middle = (holds + fails) // 2
        yield leaving(base, groups, middle)
        fails, holds = (fails, middle) if passes(tried[-1]) else (middle, holds)


def leaving(base: Candidate, groups: list[frozenset[str]], count: int) -> Candidate:
    """Return the candidate that leaves the first so many in FP32."""
    names: frozenset[str] = frozenset().union(*groups[:count])
    name = f"the {count} worst of {len(groups)} tensors" if count > 1 else "the worst tensor"
    return dataclasses.replace(base, name=name, exclude=names)
