"""``dlcompare infer``: reads arguments, calls the program, prints; no logic of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from dlcompare.core.cli.options import option, options, panels_of
from dlcompare.core.plugins.inference_job import PRECISIONS, SCENARIOS
from dlcompare.core.plugins.job import DEVICES

if TYPE_CHECKING:
    from .request import InferencePlan

GROUPS = {
    "The network": ["--model", "--weights", "--from-run", "--onnx", "--image-size"],
    "What is compared": ["--engine", "--precision", "--batch", "--data", "--device", "--threads"],
    "How INT8 is made": ["--calibrate", "--calibration-samples", "--calibration", "--protocol", "--equalise",
                         "--search"],
    "How it is measured": ["--samples", "--accuracy-floor", "--rounds", "--windows", "--window-seconds", "--scenario",
                           "--scenario-seconds", "--latency-bound", "--no-speed", "--no-accuracy"],
    "Where it runs and what comes out": ["--env", "--out", "--format", "--plot", "--seed", "--loaders", "--timeout"],
}
panels_of("dlcompare infer", GROUPS)
CALIBRATORS = ("entropy", "minmax", "percentile", "mse", "tensorrt-entropy2")


def several(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Return the words of NAME[,NAME...], each once."""
    return tuple(dict.fromkeys(word.strip() for word in (value or "").split(",") if word.strip()))


def numbers(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    """Return the numbers of N[,N...], each once."""
    words = several(context, parameter, value)
    if not words or not all(word.isdigit() and int(word) > 0 for word in words):
        raise click.BadParameter(f"takes numbers of samples such as 1,8,32, not {value!r}")
    return tuple(int(word) for word in words)


NETWORK = (
    option("--model", metavar="NAME", help="The network; see 'dlcompare list'."),
    option("--weights", type=click.Path(), metavar="FILE", help="Its parameters: .safetensors, or a PyTorch "
                                                                "state_dict."),
    option("--from-run", type=click.Path(exists=True, path_type=Path), metavar="RUN", help="Take the network that a "
           "training run with --save has left; its model, image size and data need not be named."),
    option("--onnx", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
           help="A classifier of your own in FP32, instead of --model."),
    option("--image-size", type=click.IntRange(1), metavar="PIXELS", help="Side of the square image."),
)
COMPARED = (
    option("--engine", "engines", required=True, callback=several, metavar="NAME[,NAME...]", help="Engines to compare: "
           "onnxruntime, openvino, tensorrt, or a framework, whose own predict is then measured."),
    option("--precision", "precisions", callback=several, metavar="NAME[,NAME...]",
           help=f"Of {', '.join(PRECISIONS)}; default: fp32,int8, on CUDA fp32,fp16,int8."),
    option("--batch", "batches", default="1,8,32", callback=numbers, metavar="N[,N...]", help="Samples at once."),
    option("--data", metavar="NAME[:ARG]", help="digits, shapes, imagefolder:PATH ...; default: what the network was "
                                                "trained on."),
    option("--device", type=click.Choice(DEVICES), default="cpu", help="Where engines run."),
    option("--threads", type=click.IntRange(1), metavar="N", help="CPU threads of an engine; default: all cores."),
)
INT8 = (
    option("--calibrate", "calibrator", type=click.Choice(CALIBRATORS), default="entropy",
           help="How the range of an activation follows from its histogram."),
    option("--calibration-samples", type=click.IntRange(1), metavar="N", help="Samples to take histograms over; "
           "default: 1250, or half of a smaller split."),
    option("--calibration", type=click.Path(exists=True, dir_okay=False), metavar="FILE", help="Histograms collected "
           "by an earlier run of the same network, instead of new ones."),
    option("--protocol", type=click.Choice(["split", "xu2018"]), default="split", help="split: calibrate with training "
           "samples, measure on all test samples; xu2018: both from the test split, never the same ones."),
    option("--equalise", is_flag=True, help="Balance channels across layers before quantising (Nagel et al. 2019)."),
    option("--search", is_flag=True, help="Leave the most sensitive tensors in FP32, one after another, until the "
                                          "accuracy floor holds."),
)
MEASURED = (
    option("--samples", "measured", type=click.IntRange(1), metavar="N", help="Measure accuracy on so many; default: "
                                                                              "all that are left."),
    option("--accuracy-floor", "floor", type=float, metavar="SHARE", help="Least share of FP32's accuracy, such as "
           "0.99; the exit code is 1 unless it is surely held."),
    option("--rounds", type=click.IntRange(1), default=1, metavar="N", help="Measure all cells so often, interleaved."),
    option("--windows", type=click.IntRange(1), default=5, metavar="N", help="Windows per cell and round."),
    option("--window-seconds", type=click.FloatRange(0, min_open=True), default=1.0, metavar="SECONDS",
           help="Length of a window."),
    option("--scenario", "scenarios", callback=several, metavar="NAME[,NAME...]", help="MLPerf's scenarios too: "
           f"{', '.join(SCENARIOS)}."),
    option("--scenario-seconds", type=click.FloatRange(0, min_open=True), default=10.0, metavar="SECONDS",
           help="Least length of a scenario."),
    option("--latency-bound", "latency", type=click.FloatRange(0, min_open=True), default=0.015, metavar="SECONDS",
           help="Of the server scenario."),
    option("--no-speed", "speed", is_flag=True, default=True, flag_value=False, help="Measure accuracy alone."),
    option("--no-accuracy", "accuracy", is_flag=True, default=True, flag_value=False, help="Measure speed alone."),
)
PLACE = (
    option("--env", metavar="current|PYTHON", help="Run the workers with this interpreter."),
    option("--out", type=click.Path(path_type=Path), default=Path("runs"), metavar="DIR", help="Folder for runs."),
    option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", help="What to print."),
    option("--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Draw throughput against "
           "batch as .png or .svg."),
    option("--seed", type=int, metavar="N", help="Of the choice of samples, generated data and initial parameters; "
           "default: that of the training run, else 0."),
    option("--loaders", type=click.IntRange(1), default=1, metavar="N", help="Image-decoding processes."),
    option("--timeout", type=click.FloatRange(1), default=900.0, metavar="SECONDS", help="Give a job up that reports "
                                                                                          "nothing for so long."),
)


@click.command()
@options(NETWORK, COMPARED, INT8, MEASURED, PLACE)
@click.pass_context
def infer(context: click.Context, form: str, plot: Path | None, **given: Any) -> None:
    """Run a trained network under inference engines in FP32, FP16 and INT8: accuracy and speed side by side.

    INT8 is calibrated on real samples, held against FP32 on the same samples one by one, and says which layers really
    ran in INT8.
    """
    from dlcompare.core.cli.progress import Progress
    from dlcompare.core.run.runner import Options
    from dlcompare.inference.run.phases import run

    from . import figure
    from .report import FORMS

    how = Options(out=given.pop("out"), env=given.pop("env"), stall_seconds=given.pop("timeout"))
    plan = planned(given)
    if plot:
        figure.check(plot)
    with Progress() as progress:
        results = run(plan, how, progress)
    click.echo(FORMS[form](results).rstrip("\n"))
    if plot:
        figure.draw(results, plot)
    context.exit(0 if results.well else 1)


def planned(given: dict[str, Any]) -> InferencePlan:
    """Return the plan that the options make."""
    from dlcompare.inference.onnx.network import Source

    from .request import InferencePlan, usual_threads

    source = Source(model=given.pop("model"), image_size=given.pop("image_size"), weights=given.pop("weights"),
                    run=given.pop("from_run"), onnx=given.pop("onnx"), seed=given["seed"] or 0)
    given["threads"] = given["threads"] or usual_threads()
    given["precisions"] = given["precisions"] or (("fp32", "int8") if given["device"] == "cpu" else
                                                  ("fp32", "fp16", "int8"))
    return InferencePlan(source, **given)


def is_run(path: Path) -> bool:
    """Return whether a path is a run of ``infer``, or results of one as ``--format json`` prints them."""
    from .result import RESULTS

    file = path / RESULTS if path.is_dir() else path
    if file.name == RESULTS:
        return file.is_file()
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):  # whoever reads records says what is wrong
        return False
    return isinstance(found, dict) and "searches" in found


def show(runs: Sequence[Path], form: str) -> None:
    """Print stored runs in one of the forms, several networks in one table."""
    from .report import FORMS
    from .result import read

    click.echo(FORMS[form](*map(read, runs)).rstrip("\n"))
