"""Carry out an inference plan: export, calibrate, render, then accuracy and speed, a process for each job.

What is finished is written down at once, and a job that fails costs only its own cell.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from dlcompare.core.environments.sources import view
from dlcompare.core.errors import DlcompareError, UsageError
from dlcompare.core.files import finite, write
from dlcompare.core.launch.start import launch
from dlcompare.core.machine.accelerators import gpus
from dlcompare.core.machine.system import system
from dlcompare.core.plugins.engine import Engine
from dlcompare.core.plugins.inference_job import InferenceJob
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.run.runner import Options, interpreters, run_folder
from dlcompare.inference.kind import accuracy
from dlcompare.inference.kind.request import InferencePlan, data_for, labelled
from dlcompare.inference.kind.result import RESULTS, Results, cell, described
from dlcompare.inference.onnx.network import Network, network
from dlcompare.inference.precision.samples import CALIBRATION_BATCH, Samples, choose
from dlcompare.inference.worker.__main__ import CALIBRATION, PREDICTIONS, RESULT

from .model_files import Files
from .weight_bits import Probes

MODELS = "models"  # the folder of ONNX files in a run
PREDICT_BATCH = 32
Json = dict[str, Any]
Progress = Callable[[Any, Json], None]


@dataclass(frozen=True)
class Outcome:
    """How a job ended: its result, or why there is none; ``status`` is ok, refused or failed."""

    status: str
    reason: str | None
    result: Json
    folder: Path


@dataclass
class Runner:
    """Starts jobs of one run, one at a time, each in a process of its own."""

    plan: InferencePlan
    network: Network
    data: str
    samples: Samples
    folder: Path
    ready: Mapping[str, Path | DlcompareError]
    options: Options
    progress: Progress
    count: dict[str, int] = field(default_factory=dict)

    def job(self, engine: Engine, precision: str, file: Path | None, **more: Any) -> InferenceJob:
        """Return a job of this run; ``more`` is what its task needs."""
        from dlcompare.inference.onnx.export import content_sha256

        net, plan, onnx = self.network, self.plan, file if engine.reads == "onnx" else None
        given: Json = {
            "engine": engine.name, "model": net.name, "precision": precision, "device": plan.device,
            "file": str(onnx) if onnx else None, "sha256": content_sha256(onnx) if onnx else net.params_sha256,
            "weights": str(net.weights) if net.weights and not onnx else None, "image_size": net.image_size,
            "inputs": net.inputs, "outputs": net.outputs, "data": self.data, "threads": plan.threads,
            "loaders": plan.loaders, "seed": plan.seed, "windows": plan.windows,
            "window_seconds": plan.window_seconds, "largest_batch": max((*plan.batches, PREDICT_BATCH)),
            "cache": str(self.folder / "builds"), **more}
        if plan.engine_calibrates(precision):
            given |= {"calibrator": plan.calibrator, "calibration": self.samples.calibration,
                      "calibration_train": self.samples.calibration_train}
        return InferenceJob(**given)

    def do(self, engine: Engine, job: InferenceJob, label: str) -> Outcome:
        """Run a job to its end."""
        number = self.count[job.id] = self.count.get(job.id, -1) + 1
        folder = self.folder / (f"{job.id}.r{number}" if number else job.id)
        python = self.ready.get(engine.name)
        reason = refusal(engine, job) or (None if isinstance(python, Path) else str(python))
        if reason:
            self.progress(None, {"label": label, "phase": "refused", "text": reason})
            return Outcome("refused", reason, {}, folder)
        folder.mkdir()
        write(folder / "job.json", job.to_json())
        ended = launch(engine, job, folder, python=str(python), path=view(plugins().roots()),
                       stall_seconds=self.options.stall_seconds,
                       on_event=lambda event: self.progress(None, {"label": label, **event}))
        if ended.reason:
            self.progress(None, {"label": label, "phase": "failed", "text": ended.reason})
            return Outcome("failed", f"{ended.reason} (log: {folder / 'log.txt'})", {}, folder)
        return Outcome("ok", None, json.loads((folder / RESULT).read_text()), folder)

    def collected(self, file: Path, tensors: tuple[str, ...], sha256: str) -> Path:
        """Return the histograms of some tensors of a network over the calibration samples; UsageError if not to be had.
        """
        engine = next((e for e in plugins().engines().values() if e.collects), None)
        if engine is None:
            raise UsageError("no engine on offer can tell what activations hold, so nothing can be calibrated")
        if engine.name not in self.ready:
            self.ready = {**self.ready, **interpreters({engine: "cpu"}, self.options, self.progress)}
        job = dataclasses.replace(self.job(engine, "fp32", file, task="collect"), device="cpu", tensors=tensors,
                                  outputs=tensors, network_sha256=sha256, batch=CALIBRATION_BATCH,
                                  samples=self.samples.calibration, train=self.samples.calibration_train)
        done = self.do(engine, job, f"calibration of {self.network.name}")
        if done.reason:
            raise UsageError(f"calibration failed: {done.reason}")
        return done.folder / CALIBRATION

    def predicted(self, engine: Engine, precision: str, file: Path | None,
                  samples: tuple[int, ...]) -> tuple[Outcome, accuracy.Answers | None]:
        """Return what a network answers to some samples of the test split."""
        import numpy as np

        job = self.job(engine, precision, file, task="predict", batch=PREDICT_BATCH, samples=samples)
        done = self.do(engine, job, f"{engine.name} {precision} accuracy")
        if done.reason:
            return done, None
        with np.load(done.folder / PREDICTIONS) as predictions:
            return done, accuracy.answers(self.network.task, dict(predictions))


def run(plan: InferencePlan, options: Options, progress: Progress) -> Results:
    """Carry out a plan and return its results; they are also written into the run's folder, as they come.

    Raises:
        UsageError: the network, the data or an engine does not exist or fit, or calibration cannot be done.
    """
    engines = [plugins().engine(name) for name in plan.engines]
    folder = run_folder(plan, options).resolve()  # workers run in folders of their own
    try:
        runner = prepared(plan, engines, folder, options, progress)
    except UsageError:
        shutil.rmtree(folder)  # nothing has run, so it would hold a plan and no results
        raise
    plan, net, samples = runner.plan, runner.network, runner.samples
    probes = Probes(runner, folder / MODELS)
    files = Files(folder / MODELS, net, plan, runner.collected, probes.weight_bits)
    begun = datetime.now(timezone.utc).isoformat(timespec="seconds")
    results = Results(run=folder.name, started=begun, plan=json.loads(plan.to_json()), system=system(),
                      network=described(net), data=runner.data)
    if plan.accuracy and labelled(runner.data):
        results = accuracies(results, runner, files, engines, samples)
    for number in range(plan.rounds if plan.speed else 0):
        results = measured_round(results, runner, files, number)
    results = kept(dataclasses.replace(results, calibration=files.calibration(samples, weights=probes.found)), folder)
    return in_scenarios(results, runner, files) if plan.scenarios else results


def prepared(plan: InferencePlan, engines: list[Engine], folder: Path, options: Options,
             progress: Progress) -> Runner:
    """Return what starts the jobs of a plan, once its network, data and interpreters are there; UsageError if not."""
    net, trained_on = network(plan.source, folder)
    data = data_for(plan, trained_on.get("data"), net.inputs)
    seed = int(trained_on.get("seed", 0)) if plan.seed is None else plan.seed
    plan = dataclasses.replace(plan, seed=seed)
    real = labelled(data)
    if "int8" in plan.precisions and not real and not plan.calibration:
        raise UsageError(f"INT8 cannot be calibrated on {data} data: ranges of random samples mean nothing; give real "
                         "data, as in --data imagefolder:PATH")
    samples = choose(data, net.inputs, protocol=plan.protocol, calibration=plan.calibration_samples,
                     measured=plan.measured, seed=seed) if real else Samples((), True, ())
    ready = interpreters(dict.fromkeys(usable(engines, plan), plan.device), options, progress)
    return Runner(plan, net, data, samples, folder, ready, options, progress)


def usable(engines: list[Engine], plan: InferencePlan) -> list[Engine]:
    """Return the engines that do not refuse everything: gigabytes need not be installed where there is no GPU."""
    return [engine for engine in engines
            if refusal(engine, InferenceJob(engine.name, "", file="-", weights="-", device=plan.device,
                                            task="predict")) is None]


def refusal(engine: Engine, job: InferenceJob) -> str | None:
    """Return why a job cannot run here: the engine's reason, or no GPU where it needs one."""
    if reason := engine.refuse(job):
        return reason
    if job.device == "cuda" and not gpus():
        return f"{engine.name} on cuda needs a GPU, and this machine has none; use --device cpu, or another machine"
    return None


def in_scenarios(results: Results, runner: Runner, files: Files) -> Results:
    """Return the results with MLPerf's scenarios for every engine and precision."""
    plan = runner.plan
    for name, precision, scenario in [(e, p, s) for e in plan.engines for p in plan.precisions for s in plan.scenarios]:
        engine = plugins().engine(name)
        file = files.path(precision, engine) if precision in engine.precisions else None
        job = runner.job(engine, precision, file, task="scenario", batch=max(plan.batches), scenario=scenario,
                         seconds=plan.scenario_seconds, latency=plan.latency)
        done = runner.do(engine, job, f"{name} {precision} {scenario}")
        row = {"engine": name, "precision": precision, "scenario": scenario, "status": done.status,
               "reason": done.reason, "ran": done.result.get("ran"), **done.result.get("scenario", {})}
        results = kept(dataclasses.replace(results, scenarios=[*results.scenarios, row]), runner.folder)
    return results


def kept(results: Results, folder: Path) -> Results:
    """Write results down and return them."""
    write(folder / RESULTS, json.dumps(finite(dataclasses.asdict(results)), indent=1, allow_nan=False))
    return results


def accuracies(results: Results, runner: Runner, files: Files, engines: list[Engine], samples: Samples) -> Results:
    """Return the results with the accuracy of every engine and precision, each against its engine's own FP32."""
    plan = runner.plan
    for engine in engines:
        reference: accuracy.Answers | None = None
        for precision in sorted({"fp32", *plan.precisions}, key=lambda p: p != "fp32"):
            file = files.path(precision, engine) if precision in engine.precisions else None
            done, found = runner.predicted(engine, precision, file, samples.measured)
            reference = found if precision == "fp32" else reference
            row: Json = {"engine": engine.name, "precision": precision, "status": done.status, "reason": done.reason,
                         "ran": done.result.get("ran"), "build": done.result.get("build")}
            if found is not None:
                row |= accuracy.scores(found, runner.network.task)
                if reference is not None and precision != "fp32":
                    row |= {"against_fp32": accuracy.against(reference, found, floor=plan.floor)}
            results = kept(dataclasses.replace(results, accuracy=[*results.accuracy, row]), runner.folder)
        if plan.search and reference is not None and "int8" in engine.precisions:
            results = kept(repaired(results, runner, files, engine, samples, reference), runner.folder)
    return results


def repaired(results: Results, runner: Runner, files: Files, engine: Engine, samples: Samples,
             reference: accuracy.Answers) -> Results:
    """Return the results with an engine's search for a way to quantise that holds the floor."""
    from .int8_search import FLOOR, Search

    found = Search(runner, files, engine, samples, reference, runner.plan.floor or FLOOR).run()
    return dataclasses.replace(results, searches=[*results.searches, found])


def measured_round(results: Results, runner: Runner, files: Files, number: int) -> Results:
    """Return the results with one more round of every cell of the matrix."""
    for name, precision, batch in runner.plan.order(number):
        engine = plugins().engine(name)
        file = files.path(precision, engine) if precision in engine.precisions else None
        begun = time.time()
        done = runner.do(engine, runner.job(engine, precision, file, batch=batch), f"{name} {precision} batch {batch}")
        row = cell(name, precision, batch, number, done.status, done.reason, done.result) | {
            "seconds": time.time() - begun}
        results = kept(dataclasses.replace(results, cells=[*results.cells, row]), runner.folder)
    return results
