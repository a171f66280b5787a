"""Whether an engine computes an INT8 file as the file says, on this device: nobody else tells, and accuracy hides it.

The engine and exact arithmetic run the very same file over the same samples. Kernels may round otherwise, which is no
more noise than INT8 has anyway; where an engine is clearly noisier than its file, its kernels deviate.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlcompare.core.errors import JobError
from dlcompare.core.plugins.engine import Engine
from dlcompare.core.plugins.registry import plugins

from .exact import Exact, decibels, held, outputs, rows, score
from .scratch import scratch

MARGIN = 3.0  # decibels that an engine's logits may be noisier than its file's: twice the noise
FEW = 4  # samples that are enough to tell where they part
Json = dict[str, Any]


@dataclass(frozen=True)
class Audits:
    """Audits engines and remembers. An audit says of a ``file``: the logits' ``sqnr_db`` against FP32 by the engine and
    ``exact_db`` by exact arithmetic, over ``samples``; whether the engine ``deviates``, from which ``layer`` on, and by
    how many ``steps`` of eight bits there; or the ``reason`` why nothing is known."""

    exact: Exact
    found: dict[tuple[str, str], Json] = field(default_factory=dict)

    def audit(self, engine: Engine, file: Path, fp32: Path) -> Json:
        """Return the audit of an engine and a file that was made of an FP32 one."""
        key = (engine.name, str(file))
        if key not in self.found:
            try:
                self.found[key] = {"file": file.name, **self.look(engine, file, fp32), "reason": None}
            except JobError as error:
                self.found[key] = {"file": file.name, "deviates": None, "reason": str(error)}
        return self.found[key]

    def look(self, engine: Engine, file: Path, fp32: Path) -> Json:
        """Return what comparing the answers tells."""
        wanted = self.exact.answers({"fp32": fp32, "int8": file}, f"{file.stem}, exact arithmetic")
        own = rows(self.predict(engine, file, f"{engine.name} int8 audit"), self.exact.preparation.inputs)
        exact, found = (score(wanted["fp32"], answers) for answers in (wanted["int8"], own))
        deviates = decibels(found["sqnr_db"]) < decibels(exact["sqnr_db"]) - MARGIN
        return {"samples": len(own), "sqnr_db": found["sqnr_db"], "exact_db": exact["sqnr_db"],
                "agreement": found["agreement"], "exact_agreement": exact["agreement"], "deviates": deviates,
                **(self.part(engine, file) if deviates else {"layer": None, "steps": None})}

    def predict(self, engine: Engine, file: Path, label: str, **more: Any) -> Any:
        """Return what an engine makes of a file."""
        job = held(self.exact.preparation, engine, file, task="audit", **more)
        return outputs(self.exact.preparation, dataclasses.replace(job, device="cpu") if engine.exact else job, label)

    def part(self, engine: Engine, file: Path) -> Json:
        """Return the first layer that is computed otherwise, None if no single one clearly is."""
        import onnx

        from dlcompare.inference.onnx.export import save
        from dlcompare.inference.precision.parting import first_apart, watch, watched

        model, judge = onnx.load(file), next(one for one in plugins().engines().values() if one.exact)
        with scratch(file.parent / "audited") as folder:
            save(watch(model), folder / file.name)
            try:
                exact, found = (self.predict(one, folder / file.name, f"{one.name} int8 layers", count=FEW)
                                for one in (judge, engine))
            except JobError:  # an engine need not take so many outputs; that it deviates is known all the same
                return {"layer": None, "steps": None}
        layer, steps = first_apart(watched(model), exact, found) or (None, None)
        return {"layer": layer, "steps": steps}
