"""From what is asked of inference to a plan: accuracy once, speed in rounds, scenarios once."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dlcompare.core.data.preprocess import Preprocessing
from dlcompare.core.errors import UsageError
from dlcompare.core.judging.judging import Judging
from dlcompare.core.kinds.kind import Request
from dlcompare.core.machine.accelerators import gpus
from dlcompare.core.plan.classes import usual_classes
from dlcompare.core.plan.matrix import make_absolute
from dlcompare.core.plan.plan import Plan
from dlcompare.core.plugins.engine import Engine
from dlcompare.core.plugins.inference_job import InferenceJob
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.typed_json import from_plain, to_plain
from dlcompare.inference.cell.request import BATCHES, PREDICT_BATCH, InferenceRequest, has_labels
from dlcompare.inference.onnx.source import trained_cell, trained_job

NO_MODEL = ("--model must be given, as in: dlcompare infer --model resnet50 --weights FILE; or --onnx FILE, or "
            "--from-run RUN; 'dlcompare list' shows what models there are")


def complete(asked: InferenceRequest) -> InferenceRequest:
    """Return a request in which nothing is left to the machine or to the run that trained the network.

    Raises:
        UsageError: a file or run does not exist, or there is no data for a user's own file.
    """
    for path in filter(None, (asked.from_run, asked.onnx, asked.calibration)):
        if not Path(path).exists():
            raise UsageError(f"{path} does not exist")
    if asked.source.onnx is None and not asked.model and not asked.from_run:
        raise UsageError(NO_MODEL)
    if not asked.onnx and (asked.output or asked.layout or asked.label_offset is not None):
        raise UsageError("--output, --layout and --label-offset are about a user's own file; leave them out, or give "
                         "--onnx FILE")
    trained = trained_on(asked)
    precisions = asked.precisions or (("fp32", "int8") if asked.device == "cpu" else ("fp32", "fp16", "int8"))
    if asked.inputs or str(asked.data).startswith("arrays:"):
        asked = with_inputs(asked)
    data = asked.data or own_data(asked) or trained.get("data") or usual_data(asked)
    fixed = fixed_batch(asked)
    classes = asked.classes if asked.onnx or asked.from_run else classes_of(asked, data)
    return dataclasses.replace(
        asked, precisions=precisions, classes=classes, fixed_batch=fixed,
        batches=asked.batches or ((fixed,) if fixed else BATCHES),
        threads=tuple(sorted(asked.threads)) or (len(os.sched_getaffinity(0)),),
        seed=int(trained.get("seed", 0)) if asked.seed is None else asked.seed, data=make_absolute(data),
        calibration=asked.calibration and str(Path(asked.calibration).resolve()))


def classes_of(asked: InferenceRequest, data: str) -> int | None:
    """Return how many classes a network of ours tells apart: as many as are asked for, else as in training."""
    return asked.classes or usual_classes(plugins(), plugins().model(str(asked.model)), [data], weights=asked.weights,
                                          image_size=asked.image_size)


def own_data(asked: InferenceRequest) -> str | None:
    """Return the data that a user's own inputs are; None if there are none."""
    return f"arrays:{asked.inputs}" if asked.inputs else None


def with_inputs(asked: InferenceRequest) -> InferenceRequest:
    """Return the request with all that follows from a user's own inputs: one set of samples, labels or none.

    Raises:
        UsageError: they cannot be read, belong to no ONNX file, or something is asked for that needs labels.
    """
    from dlcompare.core.data.arrays import read

    if not asked.onnx or not asked.inputs or (asked.data and asked.data != own_data(asked)):
        raise UsageError("--inputs are for a user's own file, and take the place of --data, as in --onnx FILE --inputs "
                         "FILE.npz")
    if asked.source.preprocessing != Preprocessing():
        raise UsageError("--inputs are given to the network as they are; leave --mean, --std, --pixels, --crop, "
                         "--resize, --channels and --layout out")
    labelled = "label" in read(str(asked.inputs))
    if not labelled and (asked.floor is not None or asked.search):
        raise UsageError("--accuracy-floor and --search need labels; add an array 'label' to --inputs, or leave them "
                         "out")
    return dataclasses.replace(asked, inputs=str(Path(str(asked.inputs)).resolve()), labelled=labelled,
                               protocol="xu2018")


def fixed_batch(asked: InferenceRequest) -> int | None:
    """Return the only batch size that a user's ONNX file takes; None if it takes any, or there is no such file."""
    if not asked.onnx:
        return None
    from dlcompare.inference.onnx.inputs import batch
    from dlcompare.inference.onnx.read import parse

    return batch(parse(Path(asked.onnx)))


def trained_on(asked: InferenceRequest) -> dict[str, Any]:
    """Return the job that trained the network, {} if no run is named."""
    if not asked.from_run:
        return {}
    return trained_job(trained_cell(Path(asked.from_run)))


def usual_data(asked: InferenceRequest) -> str:
    """Return the data of a model of ours; UsageError for a user's own file, whose samples nobody knows."""
    if asked.model:
        return plugins().model(asked.model).data
    if asked.onnx:
        raise UsageError("--data must be given: calibration and accuracy need samples that belong to the network, as "
                         "in --data imagefolder:PATH or --inputs FILE.npz")
    raise UsageError(NO_MODEL)


def plan(request: Request) -> Plan:
    """Return the plan: accuracy once, speed in rounds, scenarios once, with the reason for each cell that cannot be."""
    asked = complete(request.own)
    if "int8" in asked.precisions and not has_labels(str(asked.data)) and not asked.calibration:
        raise UsageError(f"INT8 cannot be calibrated on {asked.data} data: ranges of random samples mean nothing; give "
                         "real data, as in --data imagefolder:PATH")
    speed, accuracy, scenarios = cells(asked)
    every = (*accuracy, *speed, *scenarios)
    check_baseline(request.judging, speed)
    reasons = {job.id: refusal(plugins().engine(job.engine), job, asked) for job in every}
    variants = {job.id: side(job) for job in every}
    points = {job.id: point(job, asked) for job in speed} if len(asked.threads) > 1 else {}
    shown = {name: value for name, value in to_plain(asked).items() if name != "plot"}
    return Plan("inference", speed, {k: v for k, v in reasons.items() if v}, variants,
                rounds=request.repetition.least, until=request.repetition.until_decided, judging=request.judging,
                seed=asked.seed or 0, before=accuracy, after=scenarios, asked=shown, points=points)


def point(job: InferenceJob, asked: InferenceRequest) -> dict[str, int]:
    """Return where a job of speed lies in a sweep: precisions are sides of their own."""
    return {"threads": job.threads, **({"batch": job.batch} if len(asked.batches) > 1 else {})}


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
        about = {"threads": max(asked.threads), **more}
        return InferenceJob(engine=engine, model=str(name), precision=precision, device=asked.device,
                            data=str(asked.data), loaders=asked.loaders, seed=asked.seed or 0, image_size=size, **about)

    pairs = [(engine, precision) for engine in asked.engines for precision in asked.precisions]
    speed = tuple(job(e, p, batch=batch, threads=threads, windows=asked.windows, window_seconds=asked.window_seconds)
                  for threads in asked.threads for e, p in pairs for batch in asked.batches) if asked.speed else ()
    first = sorted({"fp32", *asked.precisions}, key=lambda precision: precision != "fp32")
    accuracy = tuple(job(e, p, task="predict", batch=PREDICT_BATCH) for e in asked.engines for p in first
                     ) if asked.accuracy and has_labels(str(asked.data)) else ()
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
    if asked.fixed_batch and job.task == "measure" and job.batch != asked.fixed_batch:
        return (f"{asked.onnx} takes batches of {asked.fixed_batch} alone; use --batch {asked.fixed_batch}, or export "
                "it with a dynamic batch axis")
    if job.device == "cuda" and not gpus():
        return f"{engine.name} on cuda needs a GPU, and this machine has none; use --device cpu, or another machine"
    return None


def cell_request(asked: Mapping[str, Any], job: InferenceJob) -> InferenceRequest:
    """Return the request that asks for one cell alone."""
    whole = from_plain(InferenceRequest, asked, what="request")
    one = dataclasses.replace(whole, engines=(job.engine,), precisions=(job.precision,), threads=(job.threads,))
    if job.task == "measure":
        return dataclasses.replace(one, batches=(job.batch,), accuracy=False, scenarios=(), search=False,
                                   layers=False)
    if job.task == "scenario":
        return dataclasses.replace(one, batches=(job.batch,), accuracy=False, speed=False, search=False, layers=False,
                                   scenarios=(str(job.scenario),))
    return dataclasses.replace(one, speed=False, scenarios=(), search=False)


JOB, OWN = InferenceJob, InferenceRequest
