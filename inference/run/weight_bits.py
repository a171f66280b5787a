"""How many bits the weights of an engine's INT8 file may take on this machine: the engine is asked, once in a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcompare.core.plugins.engine import Engine
from dlcompare.inference.precision.saturation import INPUTS, LAYERS, question, saturating

if TYPE_CHECKING:
    from .phases import Runner

WHOLE, FEWER = 8, 7
Json = dict[str, Any]


@dataclass(frozen=True)
class Probes:
    """Asks engines and remembers: ``found`` has by engine the bits, the layers that saturate with the share of the
    exact sum they came to, and why there was no answer, if so."""

    runner: Runner
    folder: Path  # of ONNX files
    found: dict[str, Json] = field(default_factory=dict)

    def weight_bits(self, engine: Engine) -> int:
        """Return the bits; a scheme of signed activations has no such kernels, and its engines are not asked."""
        if engine.name not in self.found:
            self.found[engine.name] = self.asked(engine) if engine.scheme == "u8s8" else answer({}, WHOLE)
        return int(self.found[engine.name]["bits"])

    def asked(self, engine: Engine) -> Json:
        """Return what a probe of the engine says. Where it failed, fewer bits: they are right on every machine."""
        from dlcompare.inference.onnx.export import save

        file = self.folder / "probe.onnx"
        save(question(), file)
        job = self.runner.job(engine, "int8", file, task="probe", inputs=INPUTS, outputs=tuple(LAYERS), cache=None)
        done = self.runner.do(engine, job, f"{engine.name} int8 probe")
        short = saturating(done.result.get("shares", {}))
        return answer(short, FEWER if short or done.status == "failed" else WHOLE, done.reason)


def answer(short: Json, bits: int, reason: str | None = None) -> Json:
    return {"bits": bits, "saturating": short, "reason": reason}
