"""An inference job: one frozen cell of the matrix engine x precision x batch, and all a worker is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from dlcompare.core.data.preprocess import USUAL, Preprocessing
from dlcompare.core.graph import Input
from dlcompare.core.settings import setting

from .job import DEVICES, BaseJob

PRECISIONS = ("fp32", "fp16", "bf16", "int8")
TASKS = ("measure", "predict", "collect", "scenario", "probe", "audit", "trials", "sensitivity",
         "search")
SCENARIOS = ("single-stream", "multi-stream", "server", "offline")


@dataclass(frozen=True)
class InferenceJob(BaseJob):
    """One engine running one network at one precision and batch size.

    ``file`` is an ONNX file with the precision written into it, and ``sha256`` its content's hash,
    ``network_sha256`` that of the FP32 file it was made from; engines that read the neutral graph take ``model``,
    ``image_size``, ``classes`` and ``weights`` (safetensors) instead. ``inputs`` declares what the network reads, the
    label included, so that a dataset can be opened for it; ``outputs`` names what it returns.

    ``fixed_batch`` is the only batch size that the file takes; None: any.

    ``task``: ``measure`` takes windows at one batch size; ``predict`` writes the outputs for ``samples`` (indices into
    the split); ``collect`` writes what ``tensors`` hold over ``samples``; ``scenario`` runs one of MLPerf's;
    ``probe`` tells how near sums of INT8 products come to the exact ones, on a file made for that; ``audit`` is
    ``predict`` for samples that nothing is measured on; ``trials`` writes the outputs of each of ``files``, by name;
    ``sensitivity`` those of one file with each of ``tensors``, inputs of it beside the data's, set to 1, the others 0.
    """

    engine: str = setting(build=True)
    model: str = setting(build=True)
    file: str | None = None
    sha256: str | None = setting(None, build=True)
    network_sha256: str | None = None
    weights: str | None = setting(None, build=True)
    image_size: int | None = setting(None, build=True)
    classes: int | None = setting(None, build=True)
    inputs: Mapping[str, Input] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    task: str = setting("measure", choices=TASKS)
    precision: str = setting("fp32", choices=PRECISIONS, build=True)
    device: str = setting("cpu", choices=DEVICES, build=True)
    batch: int = setting(1, least=1)
    largest_batch: int = setting(1, build=True)  # that the same build must also serve
    fixed_batch: int | None = None
    label_offset: int = 0  # how much higher a class's number is than its label
    threads: int = setting(1, least=1, build=True)
    windows: int = setting(5, least=1)
    window_seconds: float = 1.0
    data: str = "synthetic"
    train: bool = False  # which split of the data
    samples: tuple[int, ...] = ()
    preprocessing: Preprocessing = USUAL  # of the data's images
    tensors: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    calibrator: str | None = None  # of the engine's own, which reads the FP32 file and these samples
    calibration: tuple[int, ...] = ()
    calibration_train: bool = True  # which split they are of
    skip: tuple[str, ...] = ()  # names of samples to leave out, of either split
    loaders: int = setting(1, least=1)
    seed: int = 0
    scenario: str | None = setting(None, choices=SCENARIOS)
    seconds: float = 10.0  # a scenario's least duration
    latency: float = 0.015  # seconds, the bound of the server scenario
    cache: str | None = None  # folder where builds are kept
    kind: ClassVar[str] = "inference"
    command: ClassVar[str] = "dlcompare infer"

    @property
    def runtime(self) -> str:
        return self.engine

    def parts(self) -> tuple[str, ...]:
        return (self.engine, self.model, self.precision, self.task, f"b{self.batch}")

    def identity(self) -> dict[str, Any]:
        return {"framework": self.engine, "model": self.model, "dataset": self.data, "device": self.device,
                "precision": self.precision, "batch_per_worker": self.batch, "global_batch": self.batch,
                "image_size": self.image_size}
