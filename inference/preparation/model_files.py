"""The ONNX files of a run, one per precision and way of writing it, made when they are first asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcompare.core.errors import JobError
from dlcompare.core.plugins.engine import Engine
from dlcompare.inference.cell.request import InferenceRequest
from dlcompare.inference.onnx.export import content_sha256, save
from dlcompare.inference.onnx.network import Network
from dlcompare.inference.onnx.wiring import Wiring
from dlcompare.inference.precision.samples import Samples, ids_sha256

from .calibrators import rank
from .exact import Exact
from .scratch import scratch

if TYPE_CHECKING:
    import onnx

    from dlcompare.inference.precision.histograms import Artifact

AUTO = "auto"
UNJUDGED = "mse"  # where no rule can be judged: the one that never did badly
WORST = 8  # tensors to name of those that eight bits hurt most
WeightBits = Callable[[Engine], int]  # how many bits an engine's INT8 weights may take
Collect = Callable[[Path, tuple[str, ...], str], Path]  # an ONNX file, its tensors, whose it is -> the artifact


class Files:
    """What a network looks like in each precision; ``collect`` runs it over the calibration samples."""

    def __init__(self, folder: Path, network: Network, plan: InferenceRequest, collect: Collect,
                 weight_bits: WeightBits, exact: Exact) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.network, self.plan, self.collect = folder, network, plan, collect
        self.weight_bits, self.exact = weight_bits, exact
        self.judged: dict[str, Any] = {}  # how the rules were judged, if they were
        self.is_balanced = False  # whether INT8 is made from the balanced network
        self._base: onnx.ModelProto | None = None
        self._artifact: Artifact | None = None
        self.objections: dict[str, None] = {}  # of TensorRT's rules to the files written for it, in order

    def path(self, precision: str, engine: Engine) -> Path:
        """Return the file that an engine reads for a precision."""
        own = self.plan.engine_calibrates(precision)
        if precision == "int8" and not own:
            return self.int8(engine)
        return self.float_file("fp32" if own or precision in engine.lowers else precision)

    def float_file(self, precision: str = "fp32") -> Path:
        """Return the network's file in a precision that is no INT8."""
        file = self.folder / f"{precision}.onnx"
        if not file.exists():
            from dlcompare.inference.precision.half import lower

            save(self.network.model if precision == "fp32" else lower(self.network.model, precision), file)
        return file

    def int8(self, engine: Engine, *, exclude: frozenset[str] = frozenset(), rule: str | None = None,
             name: str = "") -> Path:
        """Return an engine's file in INT8 with some tensors left in FP32, by the plan's rule or another; ``name`` tells
        it from its others.

        Engines share a file where both the scheme and the bits of their weights are the same.
        """
        from dlcompare.inference.precision.quantise import quantise
        from dlcompare.inference.precision.tensorrt_rules import violations

        scheme, bits = str(engine.scheme), self.weight_bits(engine)
        ranges = self.ranges(scheme, rule or self.rule(scheme, bits))
        file = self.folder / f"int8-{scheme}{'' if bits == 8 else f'-w{bits}'}{name}.onnx"
        if not file.exists():
            made = quantise(self.base, ranges, scheme=scheme, exclude=exclude, weight_bits=bits)
            save(made, file)
            self.objections |= dict.fromkeys(violations(made) if scheme == "s8s8" else ())
        return file

    @property
    def base(self) -> onnx.ModelProto:
        """Return the network that INT8 is made from: FP32, equalised if that was asked for, balanced if that was found
        to help."""
        if self._base is None:
            from dlcompare.inference.precision.equalise import equalise

            self._base = equalise(self.network.model) if self.plan.equalise else self.network.model
        return self._base

    @cached_property
    def balanced(self) -> Files | None:
        """Return the files of the network with its layers' inputs balanced, to be calibrated anew; None where there is
        little to balance."""
        from dlcompare.inference.precision.balance import balance

        base = balance(self.base, self.artifact)
        if base is None:
            return None
        plan = dataclasses.replace(self.plan, calibration=None)
        made = Files(self.folder / "balanced", self.network, plan, self.collect, self.weight_bits, self.exact)
        made._base = base
        return made

    def ranges(self, scheme: str, rule: str) -> Mapping[str, tuple[float, float]]:
        """Return the range of every tensor by a rule, for a way of writing it."""
        from dlcompare.inference.precision.placement import of_inputs
        from dlcompare.inference.precision.ranges import ranges

        return ranges(self.artifact, rule, scheme=scheme, whole=of_inputs(Wiring.of(self.base), self.network.inputs))

    def rule(self, scheme: str = "u8s8", bits: int = 8) -> str:
        """Return the rule of the plan; where that leaves it open, the one that serves the network best, judged once,
        in the first way of writing it that is asked for. With it the network is balanced where that serves better."""
        if self.plan.calibrator != AUTO:
            return self.plan.calibrator
        if not self.judged:
            try:
                self.judged = {"ranking": rank(self, self.exact, scheme, bits), "reason": None}
            except JobError as error:
                self.judged = {"ranking": [{"rule": UNJUDGED}], "reason": str(error)}
            if self.judged["ranking"][0].get("balanced") and self.balanced:
                self.is_balanced, self._base, self._artifact = True, self.balanced.base, self.balanced.artifact
        return str(self.judged["ranking"][0]["rule"])

    @property
    def artifact(self) -> Artifact:
        """Return the histograms of the network: those that the user named, or collected now."""
        if self._artifact is None:
            from dlcompare.inference.precision.histograms import Artifact, instrument
            from dlcompare.inference.precision.quantise import activation_tensors

            with scratch(self.folder / "calibrating") as folder:  # several times the network, for no later use
                base, watched = folder / "calibrated.onnx", folder / "instrumented.onnx"
                save(self.base, base)
                sha256 = content_sha256(base)
                if self.plan.calibration:
                    file = Path(self.plan.calibration)
                else:
                    tensors = tuple(activation_tensors(self.base))
                    save(instrument(self.base, tensors), watched)
                    file = self.collect(watched, tensors, sha256)
            self._artifact = Artifact.load(file, sha256=sha256)
        return self._artifact

    def calibration(self, samples: Samples, *, weights: Mapping[str, Any],
                    audit: Mapping[str, Any], layers: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return what a record keeps of the calibration and, by engine, of its weights, its audit and its layers; None
        if there was none."""
        if self.plan.engine_calibrates("int8"):
            return {"rule": self.plan.calibrator, "judged": None, "samples": list(samples.calibration),
                    "samples_sha256": ids_sha256(samples.calibration), "protocol": self.plan.protocol,
                    "split": "train" if samples.calibration_train else "test", "data": None, "equalised": False,
                    "balanced": False,
                    "tensors": None, "most_sensitive": {}, "objections": [], "network_sha256": None, "weights": {},
                    "audit": {}, "layers": {}}
        if self._artifact is None:
            return None
        from dlcompare.inference.precision.sensitivity import ranking

        ids, worst = self._artifact.meta["samples"], ranking(self._artifact, self.ranges("u8s8", self.rule()))[:WORST]
        kept = {**self.judged, "samples": len(samples.held), "held_back": not set(samples.held) & set(ids)}
        return {"rule": self.rule(), "judged": kept if self.judged else None, "samples": ids,
                "samples_sha256": ids_sha256(ids), "split": "train" if self._artifact.meta["train"] else "test",
                "data": self._artifact.meta["data"],
                "protocol": self.plan.protocol, "equalised": self.plan.equalise, "balanced": self.is_balanced,
                "tensors": len(self._artifact.tensors), "most_sensitive": dict(worst),
                "objections": list(self.objections), "weights": dict(weights), "audit": dict(audit),
                "layers": dict(layers), "network_sha256": self._artifact.meta["sha256"]}
