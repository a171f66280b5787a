"""What a run needs before its cells can run: the network, samples, a file for each precision, made when asked for.

Jobs that prepare, such as a calibration, are run once: a run that is resumed finds what they left.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlcompare.core.data.preprocess import USUAL, is_image
from dlcompare.core.errors import JobError, UsageError
from dlcompare.core.files import finite, read_cached, write
from dlcompare.core.graph import Graph, Input
from dlcompare.core.kinds.kind import Run
from dlcompare.core.plan.bad_samples import bad_samples
from dlcompare.core.plan.classes import classes_in_data
from dlcompare.core.plan.matrix import check_data
from dlcompare.core.plugins.engine import Engine
from dlcompare.core.plugins.inference_job import InferenceJob
from dlcompare.core.plugins.job import BaseJob
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.typed_json import from_plain, to_plain
from dlcompare.core.variables import rank_file
from dlcompare.inference.cell.files import CALIBRATION, MODELS, PREPARED
from dlcompare.inference.cell.request import PREDICT_BATCH, InferenceRequest, has_labels
from dlcompare.inference.cell.result import RankResult
from dlcompare.inference.onnx.export import content_sha256
from dlcompare.inference.onnx.network import Network, network
from dlcompare.inference.precision.samples import CALIBRATION_BATCH, Samples, apart, choose, extent

from .audit import Audits
from .calibrators import cost
from .exact import Exact
from .layers import layers
from .model_files import Files
from .weight_bits import WHOLE, Done, Probes

Json = dict[str, Any]


@dataclass
class Preparation:
    """Makes of a job that was asked for the one that is run; ``seen`` are the files whose hash is known."""

    run: Run
    asked: InferenceRequest
    network: Network
    samples: Samples
    skip: tuple[str, ...] = ()  # names of samples that no job reads
    seen: dict[Path, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.probes, self.exact = Probes(self, self.asked.weight_bits), Exact(self)
        self.audits = Audits(self.exact)
        self.audit: dict[str, Json] = {}  # by engine, of the file that its INT8 cells run
        self.layers: dict[str, Json] = {}  # likewise
        self.files = Files(self.models, self.network, self.asked, self.collect, self.probes.weight_bits,
                           self.exact)
        self.keep()

    @classmethod
    def of(cls, run: Run, asked: InferenceRequest) -> Preparation:
        """Return the preparation of a run; UsageError if network, data and samples do not fit one another."""
        from dlcompare.inference.precision.histograms import Artifact

        net = network(asked.source, run.folder)
        seen, kind = net.preprocessing.data_inputs(net.inputs), plugins().dataset(str(asked.data))[0]
        if asked.engine_calibrates("int8") and net.preprocessing != USUAL:
            raise UsageError(f"--calibrate {asked.calibrator} reads images as the data gives them, channels first; "
                             "leave the options on images out, or use another --calibrate")
        net.preprocessing.check(kind.pixels, net.inputs, data=str(asked.data))
        data = check_data(plugins(), str(asked.data), Graph("", seen, (), {}))
        check_classes(asked, seen, data)
        net = net if asked.onnx else with_other_classes(net, data)
        skip = bad_samples(plugins(), data, seen, policy=asked.on_bad_sample, tell=run.tell)
        samples = samples_of(asked, seen, data, skip=skip)
        if asked.calibration:
            samples = apart(samples, Artifact.load(asked.calibration).meta, data=data)
        return cls(run, asked, net, samples, skip)

    @property
    def inputs(self) -> Mapping[str, Input]:
        """Return what the network reads."""
        return self.network.inputs

    @property
    def models(self) -> Path:
        """Return the folder of ONNX files."""
        return self.run.folder / MODELS

    def __call__(self, job: BaseJob) -> InferenceJob:
        """Return a job of a cell, with what it needs of this run."""
        assert isinstance(job, InferenceJob)
        engine = plugins().engine(job.engine)
        file = self.files.path(job.precision, engine)
        made = self.job(job, file)
        if job.precision == "int8" and made.file and not made.calibrator:
            self.look_closely(engine, file)
        if job.task == "predict":
            made = dataclasses.replace(made, samples=self.samples.measured)
        self.keep()
        return made

    def look_closely(self, engine: Engine, file: Path) -> None:
        """Find out what an engine makes of its INT8 file, and what it costs if weights take fewer bits."""
        if not engine.exact and engine.name not in self.audit:
            self.audit[engine.name] = self.audits.audit(engine, file, self.files.float_file())
        if self.asked.layers and engine.name not in self.layers:
            self.layers[engine.name] = layers(self, engine, file, self.files.base)
        bits = self.probes.found[engine.name]
        if bits["bits"] < WHOLE and "cost" not in bits:
            with contextlib.suppress(JobError):  # a price that is not known is not told
                bits["cost"] = cost(self.files, self.exact, str(engine.scheme), bits["bits"])

    def job(self, job: InferenceJob, file: Path | None) -> InferenceJob:
        """Return a job with the network in it, as an ONNX file or, for frameworks, as parameters."""
        net, asked = self.network, self.asked
        onnx = file if plugins().engine(job.engine).reads == "onnx" else None
        made = dataclasses.replace(
            job, model=net.name, file=str(onnx) if onnx else None,
            sha256=self.sha256(onnx) if onnx else net.params_sha256,
            weights=str(net.weights) if net.weights and not onnx else None, image_size=net.image_size,
            classes=net.classes, skip=self.skip, inputs=net.inputs, outputs=net.outputs,
            preprocessing=net.preprocessing, fixed_batch=net.fixed_batch, label_offset=asked.label_offset or 0,
            largest_batch=net.fixed_batch or max((*asked.batches, PREDICT_BATCH)),
            cache=str(self.run.folder / "builds"))
        if not asked.engine_calibrates(job.precision):
            return made
        return dataclasses.replace(made, calibrator=asked.calibrator, calibration=self.samples.calibration,
                                   calibration_train=self.samples.calibration_train)

    def sha256(self, file: Path) -> str:
        """Return the hash of an ONNX file's content, looked at once."""
        if file not in self.seen:
            self.seen[file] = content_sha256(file)
        return self.seen[file]

    def blank(self, engine: Engine, **more: Any) -> InferenceJob:
        """Return a job of this run that no cell asks for; ``more`` is what its task needs."""
        asked = self.asked
        return InferenceJob(**{
            "engine": engine.name, "model": self.network.name, "device": asked.device, "threads": max(asked.threads),
            "data": str(asked.data), "loaders": asked.loaders, "seed": asked.seed or 0, "windows": asked.windows,
            "window_seconds": asked.window_seconds, "skip": self.skip, **more})

    def do(self, job: InferenceJob, label: str) -> Done:
        """Run a preparing job to its end; one that has ended well before is not run again."""
        folder = self.run.folder / job.id
        known = self.result(folder)
        if known is None and (reason := self.run.start(job, folder, label=label)):
            self.run.tell(None, {"label": label, "phase": "failed", "text": reason})
            return Done(folder, None, f"{reason} (log: {folder / 'log.txt'})")
        found = known or self.result(folder)
        return Done(folder, found, None if found else f"its process left no result (log: {folder / 'log.txt'})")

    def result(self, folder: Path) -> RankResult | None:
        """Return what a preparing job left; None if it did not end well."""
        return read_cached(folder / rank_file(0), lambda text: from_plain(
            RankResult, json.loads(text), what="rank result"), instead="it is prepared again")

    def collect(self, file: Path, tensors: tuple[str, ...], sha256: str) -> Path:
        """Return the histograms of some tensors of a network over the calibration samples; UsageError if not to be had.
        """
        engine = next((e for e in plugins().engines().values() if e.collects), None)
        if engine is None:
            raise UsageError("no engine on offer can tell what activations hold, so nothing can be calibrated")
        job = dataclasses.replace(
            self.job(self.blank(engine, task="collect"), file), device="cpu", tensors=tensors, outputs=tensors,
            network_sha256=sha256, batch=CALIBRATION_BATCH, samples=self.samples.calibration,
            train=self.samples.calibration_train, file=str(file), cache=None)
        done = self.do(job, f"calibration of {self.network.name}")
        if done.reason:
            raise UsageError(f"calibration failed: {done.reason}")
        return done.folder / CALIBRATION

    def keep(self) -> None:
        """Write down what all records of the run have in common."""
        about = {"asked": to_plain(self.asked), "network": describe(self.network, str(self.asked.data)),
                 "calibration": self.files.calibration(self.samples, weights=self.probes.found,
                                                  audit=self.audit, layers=self.layers)}
        write(self.run.folder / PREPARED, json.dumps(finite(about), indent=1, allow_nan=False))


def samples_of(asked: InferenceRequest, inputs: Mapping[str, Input], data: str, *,
               skip: Collection[str] = ()) -> Samples:
    """Return which samples calibrate and which are measured. Of a user's own arrays, which may be one sample alone,
    all are measured where nothing is calibrated."""
    if not has_labels(data):
        return Samples((), True, ())
    if asked.inputs:
        there = extent(data, inputs, train=False, seed=0, skip=()).size
        if "int8" not in asked.precisions or asked.calibration:
            return Samples((), False, tuple(range(there)[:asked.measured]))
        if there < 2 * CALIBRATION_BATCH:
            raise UsageError(f"one half of --inputs calibrates INT8 and the other is measured: give "
                             f"{2 * CALIBRATION_BATCH} samples or more, not {there}, or add --precision fp32")
    return choose(data, inputs, protocol=asked.protocol, calibration=asked.calibration_samples, skip=skip,
                  measured=asked.measured, seed=asked.seed or 0)


def check_classes(asked: InferenceRequest, inputs: Mapping[str, Input], data: str) -> None:
    """Raise UsageError if a user's network tells exactly one class more apart than there is: which is label 0?"""
    label = inputs.get("label")
    if not asked.onnx or asked.label_offset is not None or label is None or not label.high:
        return
    fewer = {**inputs, "label": dataclasses.replace(label, high=label.high - 2)}
    kind, argument = plugins().dataset(data)
    try:
        kind.check(argument, {**inputs, "label": dataclasses.replace(label, high=label.high - 1)})
    except UsageError:
        return  # as many classes as the network has
    with contextlib.suppress(UsageError):
        kind.check(argument, fewer)
        return
    raise UsageError(f"the network tells {label.high} classes apart, and {data} has {label.high - 1}: if its class 0 "
                     "is the background, as in TensorFlow's networks, add --label-offset 1, else --label-offset 0")


def with_other_classes(net: Network, data: str) -> Network:
    """Return a network that says so where it tells another number of classes apart than the data have."""
    label, there = net.inputs.get("label"), classes_in_data(plugins(), data)
    if label is None or there in (None, label.high):
        return net
    return dataclasses.replace(net, origin=f"{net.origin}; tells {label.high} classes apart, and {data} has {there}")


def describe(net: Network, data: str) -> Json:
    """Return what records keep of a network, and of what becomes of its images; ``pixels`` are their height and width.
    """
    image = next((net.preprocessing.data_shape(one.shape) for one in net.inputs.values() if is_image(one)), None)
    pixels = plugins().dataset(data)[0].pixels
    how = net.preprocessing.describe(pixels) if any(map(is_image, net.inputs.values())) else ""
    return {"name": net.name, "task": net.task, "image_size": net.image_size,
            "pixels": list(image[1:]) if image else None, "origin": net.origin,
            "trained": net.trained, "params_sha256": net.params_sha256, "outputs": list(net.outputs),
            "preprocessing": how}


def read_prepared(run: Path) -> Json:
    """Return what all records of a run have in common."""
    found: Json = json.loads((run / PREPARED).read_text())
    return found
