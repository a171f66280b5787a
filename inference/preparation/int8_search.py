"""Bring an INT8 network back to the accuracy floor: equalise, then leave the worst tensors, as few as do, in FP32."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlcompare.core.errors import UsageError
from dlcompare.core.plugins.engine import Engine
from dlcompare.inference.cell import accuracy
from dlcompare.inference.cell.request import PREDICT_BATCH

from .model_files import Files
from .preparation import Preparation

FLOOR = 0.99  # of FP32's accuracy, where the user names none: MLPerf's lower tier
Json = dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    """One way of quantising: which files, which tensors stay in FP32, and what tables call it."""

    name: str
    files: Files
    exclude: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Search:
    """One engine's search; every candidate is held against the same FP32 answers on the same samples."""

    preparation: Preparation
    engine: Engine
    reference: accuracy.Answers
    floor: float

    @property
    def files(self) -> Files:
        return self.preparation.files

    def try_out(self, candidate: Candidate) -> Json:
        """Return how accurate and how fast a candidate is."""
        asked, task = self.preparation.asked, self.preparation.network.task
        file = candidate.files.int8(self.engine, exclude=candidate.exclude, name=label(candidate))
        job = self.job(file, task="predict", batch=PREDICT_BATCH, samples=self.preparation.samples.measured)
        done = self.preparation.do(job, f"{self.engine.name} int8 {candidate.name}, accuracy")
        if done.result is None:
            raise UsageError(f"the repair of {self.engine.name} stopped at {candidate.name}: {done.reason}")
        found = accuracy.read_answers(done.folder, task)
        batch = max(asked.batches)
        fast = self.preparation.do(self.job(file, batch=batch, windows=3), f"{self.engine.name} int8 {candidate.name}")
        windows = fast.result.measured.windows if fast.result and fast.result.measured else ()
        rates = sorted(window.rate for window in windows)
        return {"name": candidate.name, "equalised": candidate.files.plan.equalise, "file": str(file),
                "excluded": sorted(candidate.exclude), "left": len(done.result.ran.left),
                **accuracy.scores(found, task),
                "against_fp32": accuracy.against(self.reference, found, floor=self.floor), "batch": batch,
                "throughput": rates[len(rates) // 2] if rates else None}

    def job(self, file: Path, **more: Any) -> Any:
        """Return a job that runs one candidate's file."""
        return self.preparation.job(self.preparation.blank(self.engine, precision="int8", **more), file)

    def run(self) -> Json:
        """Return all candidates that were tried, and the outcome."""
        tried: list[Json] = []
        for candidate in self.candidates(tried):
            tried.append(self.try_out(candidate))
        good = [one for one in tried if passes(one)]
        best = max(good or tried, key=lambda one: (one["throughput"] or 0.0) if good else one["right"])
        outcome = (f"{best['name']} holds {self.floor:g} of FP32" if good else
                   f"nothing held {self.floor:g} of FP32; {best['name']} came nearest")
        return {"engine": self.engine.name, "verdict": "pass" if good else "fail", "outcome": outcome,
                "chosen": best["name"], "file": best["file"], "floor": self.floor, "candidates": tried}

    def candidates(self, tried: list[Json]) -> Iterator[Candidate]:
        """Yield what to try next, given what came of the last one, until the floor holds and fewer would not do."""
        asked = self.preparation.asked
        yield Candidate("nothing, equalised" if asked.equalise else "nothing", self.files)
        even = self.files if asked.equalise else self.equalise()
        if not asked.equalise and not passes(tried[-1]):
            yield Candidate("nothing, equalised", even)
        if passes(tried[-1]):
            return
        base = max(tried, key=lambda one: one["right"])
        files = even if base["equalised"] else self.files
        groups = worst_first(files, str(self.engine.scheme))
        fails, holds, count = 0, None, 1
        while holds is None and count < 2 * len(groups):
            count = min(count, len(groups))
            yield excluding(files, groups, count)
            fails, holds, count = (fails, count, count) if passes(tried[-1]) else (count, None, 2 * count)
        while holds is not None and holds - fails > 1:
            middle = (holds + fails) // 2
            yield excluding(files, groups, middle)
            fails, holds = (fails, middle) if passes(tried[-1]) else (middle, holds)

    def equalise(self) -> Files:
        """Return the files of the network with its channels balanced, to be calibrated anew."""
        asked = dataclasses.replace(self.preparation.asked, equalise=True, calibration=None)
        return Files(self.files.folder / "equalised", self.preparation.network, asked, self.preparation.collect,
                     self.files.weight_bits, self.preparation.exact)


def passes(one: Json) -> bool:
    return bool(one["against_fp32"]["floor"]["verdict"] == "pass")


def label(candidate: Candidate) -> str:
    return f"-without-{len(candidate.exclude)}" if candidate.exclude else ""


def worst_first(files: Files, scheme: str) -> list[frozenset[str]]:
    """Return tensors in the order in which they are to stay in FP32, each with its neighbours: a layer is in INT8 only
    if what it reads and what it makes both are."""
    from dlcompare.inference.precision.sensitivity import neighbours, ranking

    return [neighbours(files.base, tensor)
            for tensor, _ in ranking(files.artifact, files.ranges(scheme, files.rule()))]


def excluding(files: Files, groups: list[frozenset[str]], count: int) -> Candidate:
    """Return the candidate that leaves the first so many in FP32."""
    names = frozenset().union(*groups[:count])
    return Candidate(f"the {count} worst of {len(groups)} tensors" if count > 1 else "the worst tensor", files, names)
