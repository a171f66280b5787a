"""How many bits the weights of an engine's INT8 file may take on this machine: the engine is asked, once in a run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from dlcompare.core.plugins.engine import Engine
from dlcompare.core.plugins.inference_job import InferenceJob
from dlcompare.inference.cell.result import RankResult
from dlcompare.inference.precision.saturation import INPUTS, LAYERS, question, saturating

WHOLE, FEWER = 8, 7
Json = dict[str, Any]


class Preparation(Protocol):
    """What probes need of a run's preparation."""

    @property
    def models(self) -> Path: ...

    def blank(self, engine: Engine, **more: Any) -> InferenceJob: ...

    def job(self, job: InferenceJob, file: Path | None) -> InferenceJob: ...

    def do(self, job: InferenceJob, label: str) -> Done: ...


@dataclass(frozen=True)
class Done:
    """How a preparing job ended: its folder, its result, or why there is none."""

    folder: Path
    result: RankResult | None
    reason: str | None


@dataclass(frozen=True)
class Probes:
    """Asks engines and remembers. ``wanted`` is what a user has set, else ``auto``; ``found`` has by engine the bits,
    the layers that saturate with the share of the exact sum they came to, and why there was no answer, if so."""

    preparation: Preparation
    wanted: str = "auto"
    found: dict[str, Json] = field(default_factory=dict)

    def weight_bits(self, engine: Engine) -> int:
        """Return the bits; a scheme of signed activations has no such kernels, and its engines are not asked. Nor is
        any where a user has said how many."""
        if engine.name not in self.found:
            if self.wanted != "auto":
                self.found[engine.name] = answer({}, int(self.wanted))
            else:
                self.found[engine.name] = self.ask(engine) if engine.scheme == "u8s8" else answer({}, WHOLE)
        return int(self.found[engine.name]["bits"])

    def ask(self, engine: Engine) -> Json:
        """Return what a probe of the engine says. Where it failed, fewer bits: they are right on every machine."""
        from dlcompare.inference.onnx.export import save

        file = self.preparation.models / "probe.onnx"
        if not file.exists():
            save(question(), file)
        job = self.preparation.job(self.preparation.blank(engine, precision="int8", task="probe"), file)
        job = dataclasses.replace(job, inputs=INPUTS, outputs=tuple(LAYERS), cache=None)
        done = self.preparation.do(job, f"{engine.name} int8 probe")
        short = saturating((done.result.shares if done.result else None) or {})
        return answer(short, FEWER if short or done.reason else WHOLE, done.reason)


def answer(short: Json, bits: int, reason: str | None = None) -> Json:
    return {"bits": bits, "saturating": short, "reason": reason}
