"""What is asked of inference: a network, engines x precisions x batches, how INT8 is made; and the plan of it."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlcompare.core.errors import UsageError
from dlcompare.core.judging.verdict import Judging
from dlcompare.core.kinds.kind import Request
from dlcompare.core.machine.accelerators import gpus
from dlcompare.core.plan.matrix import from_anywhere
from dlcompare.core.plan.plan import Plan
from dlcompare.core.plugins.engine import Engine
from dlcompare.core.plugins.inference_job import PRECISIONS, SCENARIOS, InferenceJob
from dlcompare.core.plugins.job import DEVICES, PLACE
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.settings import check, setting
from dlcompare.core.typed_json import from_plain, to_plain
from dlcompare.inference.onnx.source import Source, trained_cell
from dlcompare.inference.precision.samples import PROTOCOLS

OWN = ("tensorrt-entropy2",)  # calibrators of engines, which read the FP32 file and the samples themselves
CALIBRATORS = ("entropy", "minmax", "percentile", "mse", *OWN)

PREDICT_BATCH = 32
NO_MODEL = ("--model must be given, as in: dlcompare infer --model resnet50 --weights FILE; or --onnx FILE, or "
            "--from-run RUN; 'dlcompare list' shows what models there are")
NETWORK, COMPARED, INT8, MEASURED = ("The network", "What is compared", "How INT8 is made", "How it is measured")


@dataclass(frozen=True)
class InferenceRequest:
    """What a user asks of inference. Empty ``precisions`` and 0 ``threads``: what is usual on the device.

    ``data`` None: what the network was trained on, or the model's usual data. ``measured`` bounds the samples that
    accuracy is taken on; ``floor`` is a share of FP32's; ``calibration`` the path of an artifact made before; ``seed``
    None: that of the training run, so that generated data are the same, else 0.
    """

    model: str | None = setting(None, group=NETWORK, metavar="NAME", help="The network; see 'dlcompare list'.")
    weights: str | None = setting(None, group=NETWORK, metavar="FILE",
                                  help="Its parameters: .safetensors, or a PyTorch state_dict.")
    from_run: str | None = setting(None, group=NETWORK, metavar="RUN",
                                   help="Take the network that a training run with --save has left; its model, image "
                                        "size and data need not be named.")
    onnx: str | None = setting(None, group=NETWORK, metavar="FILE",
                               help="A classifier of your own in FP32, instead of --model.")
    image_size: int | None = setting(None, group=NETWORK, least=1, metavar="PIXELS", help="Side of the square image.")
    engines: tuple[str, ...] = setting(
        (), group=COMPARED, flag="--engine", metavar="NAME[,NAME...]",
        help="Engines to compare: onnxruntime, openvino, tensorrt, or a framework, whose own predict is then measured.")
    precisions: tuple[str, ...] = setting(
        (), group=COMPARED, flag="--precision", metavar="NAME[,NAME...]",
        help=f"Of {', '.join(PRECISIONS)}; default: fp32,int8, on CUDA fp32,fp16,int8.")
    batches: tuple[int, ...] = setting((1, 8, 32), group=COMPARED, flag="--batch", metavar="N[,N...]",
                                       help="Samples at once; default 1,8,32.")
    data: str | None = setting(None, group=COMPARED, metavar="NAME[:ARG]",
                               help="digits, shapes, imagefolder:PATH ...; default: what the network was trained on.")
    device: str = setting("cpu", group=COMPARED, choices=DEVICES, help="Where engines run.")
    threads: int = setting(0, group=COMPARED, least=0, metavar="N",
                           help="CPU threads of an engine; default: all cores.")
    calibrator: str = setting("entropy", group=INT8, flag="--calibrate", choices=CALIBRATORS,
                              help="How the range of an activation follows from its histogram.")
    calibration_samples: int | None = setting(
        None, group=INT8, least=1, metavar="N",
        help="Samples to take histograms over; default: 1250, or half of a smaller split.")
    calibration: str | None = setting(
        None, group=INT8, metavar="FILE",
        help="Histograms collected by an earlier run of the same network, instead of new ones.")
    protocol: str = setting("split", group=INT8, choices=PROTOCOLS,
                            help="split: calibrate with training samples, measure on all test samples; xu2018: both "
                                 "from the test split, never the same ones.")
    equalise: bool = setting(False, group=INT8,
                             help="Balance channels across layers before quantising (Nagel et al. 2019).")
    search: bool = setting(False, group=INT8,
                           help="Leave the most sensitive tensors in FP32, one after another, until the accuracy floor "
                                "holds.")
    measured: int | None = setting(None, group=MEASURED, flag="--samples", least=1, metavar="N",
                                   help="Measure accuracy on so many; default: all that are left.")
    floor: float | None = setting(None, group=MEASURED, flag="--accuracy-floor", metavar="SHARE",
                                  help="Least share of FP32's accuracy, such as 0.99; the exit code is 1 unless it is "
                                       "surely held.")
    windows: int = setting(5, group=MEASURED, least=1, metavar="N", help="Windows per cell and round.")
    window_seconds: float = setting(1.0, group=MEASURED, above=0, metavar="SECONDS", help="Length of a window.")
    scenarios: tuple[str, ...] = setting((), group=MEASURED, flag="--scenario", metavar="NAME[,NAME...]",
                                         help=f"MLPerf's scenarios too: {', '.join(SCENARIOS)}.")
    scenario_seconds: float = setting(10.0, group=MEASURED, above=0, metavar="SECONDS",
                                      help="Least length of a scenario.")
    latency: float = setting(0.015, group=MEASURED, flag="--latency-bound", above=0, metavar="SECONDS",
                             help="Of the server scenario.")
    speed: bool = setting(True, group=MEASURED, flag="--no-speed", help="Measure accuracy alone.")
    accuracy: bool = setting(True, group=MEASURED, flag="--no-accuracy", help="Measure speed alone.")
    seed: int | None = setting(None, group=PLACE, metavar="N",
                               help="Of the choice of samples, generated data and initial parameters; default: that of "
                                    "the training run, else 0.")
    loaders: int = setting(1, group=PLACE, least=1, metavar="N", help="Image-decoding processes.")
    plot: str | None = setting(None, group=PLACE, once=True, metavar="FILE",
                               help="Draw throughput against batch as .png or .svg.")

    def __post_init__(self) -> None:
        check(self)
        for name, allowed in (("precisions", PRECISIONS), ("scenarios", SCENARIOS)):
            for value in getattr(self, name):
                among(name[:-1], value, allowed)
        if self.calibrator in OWN and (self.equalise or self.search or self.calibration):
            raise UsageError(f"--calibrate {self.calibrator} leaves ranges to the engine, so --equalise, --search and "
                             "--calibration have nothing to work on; leave them out, or use --calibrate entropy")
        if not self.engines or not self.batches:
            raise UsageError("at least one engine and one batch size must be named, as in --engine onnxruntime "
                             "--batch 1,8")
        if min(self.batches) < 1:
            raise UsageError(f"a batch has at least 1 sample, not {min(self.batches)}")
        if self.floor is not None and not 0 < self.floor <= 1:
            raise UsageError(f"--accuracy-floor is a share of FP32's accuracy, above 0 and at most 1, not {self.floor}")

    @property
    def source(self) -> Source:
        """Return where the network comes from."""
        return Source(model=self.model, image_size=self.image_size, weights=self.weights, seed=self.seed or 0,
                      run=Path(self.from_run) if self.from_run else None, onnx=Path(self.onnx) if self.onnx else None)

    def engine_calibrates(self, precision: str) -> bool:
        """Return whether a precision is INT8 whose ranges the engine itself finds."""
        return precision == "int8" and self.calibrator in OWN


def among(what: str, value: str, allowed: Sequence[str]) -> None:
    """Raise UsageError if a value is not among those allowed."""
    if value not in allowed:
        raise UsageError(f"unknown {what} {value!r}; there is: {', '.join(allowed)}")


def completed(asked: InferenceRequest) -> InferenceRequest:
    """Return a request in which nothing is left to the machine or to the run that trained the network.

    Raises:
        UsageError: a file or run does not exist, or there is no data for a user's own file.
    """
    for path in filter(None, (asked.from_run, asked.onnx, asked.calibration)):
        if not Path(path).exists():
            raise UsageError(f"{path} does not exist")
    if asked.source.onnx is None and not asked.model and not asked.from_run:
        raise UsageError(NO_MODEL)
    trained = trained_on(asked)
    precisions = asked.precisions or (("fp32", "int8") if asked.device == "cpu" else ("fp32", "fp16", "int8"))
    data = asked.data or trained.get("data") or usual_data(asked)
    return dataclasses.replace(
        asked, precisions=precisions, threads=asked.threads or len(os.sched_getaffinity(0)),
        seed=int(trained.get("seed", 0)) if asked.seed is None else asked.seed, data=from_anywhere(data),
        calibration=asked.calibration and str(Path(asked.calibration).resolve()))


def trained_on(asked: InferenceRequest) -> dict[str, Any]:
    """Return the job that trained the network, {} if no run is named."""
    if not asked.from_run:
        return {}
    found: dict[str, Any] = json.loads((trained_cell(Path(asked.from_run)) / "job.json").read_text())
    return found


def usual_data(asked: InferenceRequest) -> str:
    """Return the data of a model of ours; UsageError for a user's own file, whose samples nobody knows."""
    if asked.model:
        return plugins().model(asked.model).data
    if asked.onnx:
        raise UsageError("--data must be given: calibration and accuracy need samples that belong to the network, as "
                         "in --data imagefolder:PATH")
    raise UsageError(NO_MODEL)


def labelled(data: str) -> bool:
    """Return whether a dataset's samples are real: the labels of synthetic data are drawn at random."""
    return data.partition(":")[0] != "synthetic"


def plan(request: Request) -> Plan:
    """Return the plan: accuracy once, speed in rounds, scenarios once, with the reason for each cell that cannot be."""
    asked = completed(request.own)
    if "int8" in asked.precisions and not labelled(str(asked.data)) and not asked.calibration:
        raise UsageError(f"INT8 cannot be calibrated on {asked.data} data: ranges of random samples mean nothing; give "
                         "real data, as in --data imagefolder:PATH")
    speed, accuracy, scenarios = cells(asked)
    every = (*accuracy, *speed, *scenarios)
    check_baseline(request.judging, speed)
    reasons = {job.id: refusal(plugins().engine(job.engine), job, asked) for job in every}
    variants = {job.id: side(job) for job in every}
    shown = {name: value for name, value in to_plain(asked).items() if name != "plot"}
    return Plan("inference", speed, {k: v for k, v in reasons.items() if v}, variants,
                rounds=request.repetition.least, until=request.repetition.until_decided, judging=request.judging,
                seed=asked.seed or 0, before=accuracy, after=scenarios, asked=shown)


def side(job: InferenceJob) -> str:
    """Return what tells the sides of one engine apart."""
    return f"precision={job.precision}"


def check_baseline(judging: Judging, jobs: Sequence[InferenceJob]) -> None:
    """Raise UsageError if no side has the baseline's name."""
    judging.check(dict.fromkeys(f"{job.engine}:{side(job)}" for job in jobs))


Jobs = tuple[InferenceJob, ...]


def cells(asked: InferenceRequest) -> tuple[Jobs, Jobs, Jobs]:
    """Return the jobs of speed, of accuracy and of scenarios, as they are asked for."""
    trained = trained_on(asked)
    name = asked.model or trained.get("model") or Path(str(asked.onnx)).stem
    size = asked.image_size or trained.get("image_size")

    def job(engine: str, precision: str, **more: Any) -> InferenceJob:
        return InferenceJob(engine=engine, model=str(name), precision=precision, device=asked.device,
                            threads=asked.threads, data=str(asked.data), loaders=asked.loaders, seed=asked.seed or 0,
                            image_size=size, **more)

    pairs = [(engine, precision) for engine in asked.engines for precision in asked.precisions]
    speed = tuple(job(e, p, batch=batch, windows=asked.windows, window_seconds=asked.window_seconds)
                  for e, p in pairs for batch in asked.batches) if asked.speed else ()
    first = sorted({"fp32", *asked.precisions}, key=lambda precision: precision != "fp32")
    accuracy = tuple(job(e, p, task="predict", batch=PREDICT_BATCH) for e in asked.engines for p in first
                     ) if asked.accuracy and labelled(str(asked.data)) else ()
    scenarios = tuple(job(e, p, task="scenario", batch=max(asked.batches), scenario=scenario,
                          seconds=asked.scenario_seconds, latency=asked.latency)
                      for e, p in pairs for scenario in asked.scenarios)
    return speed, accuracy, scenarios


def refusal(engine: Engine, job: InferenceJob, asked: InferenceRequest) -> str | None:
    """Return why a job cannot run here: the engine's reason, or no GPU where it needs one."""
    own = asked.calibrator if asked.engine_calibrates(job.precision) else None
    tried = dataclasses.replace(job, file="-", weights=None if asked.onnx else "-", calibrator=own)
    if reason := engine.refuse(tried):
        return reason
    if job.device == "cuda" and not gpus():
        return f"{engine.name} on cuda needs a GPU, and this machine has none; use --device cpu, or another machine"
    return None


def cell_request(asked: Mapping[str, Any], job: InferenceJob) -> InferenceRequest:
    """Return the request that asks for one cell alone."""
    whole = from_plain(InferenceRequest, asked, what="request")
    one = dataclasses.replace(whole, engines=(job.engine,), precisions=(job.precision,))
    if job.task == "measure":
        return dataclasses.replace(one, batches=(job.batch,), accuracy=False, scenarios=(), search=False)
    if job.task == "scenario":
        return dataclasses.replace(one, batches=(job.batch,), accuracy=False, speed=False, search=False,
                                   scenarios=(str(job.scenario),))
    return dataclasses.replace(one, speed=False, scenarios=(), search=False)
