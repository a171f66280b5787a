"""What a user asks of inference: a network, engines x precisions x batches, how INT8 is made, what is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dlcompare.core.data.preprocess import CHANNELS, COVER, LAYOUTS, RESIZES, Preprocessing
from dlcompare.core.errors import UsageError
from dlcompare.core.plugins.inference_job import PRECISIONS, SCENARIOS
from dlcompare.core.plugins.job import DEVICES, FAIL, PLACE, SKIP
from dlcompare.core.settings import check, setting
from dlcompare.inference.onnx.source import Source
from dlcompare.inference.precision.samples import PROTOCOLS

OWN = ("tensorrt-entropy2",)  # calibrators of engines, which read the FP32 file and the samples themselves
CALIBRATORS = ("auto", "minmax", "percentile", "mse", "entropy", *OWN)

PREDICT_BATCH = 32
BATCHES = (1, 8, 32)  # where nobody says
NETWORK, IMAGES, COMPARED, INT8, MEASURED = ("The network", "What its images are like", "What is compared",
                                             "How INT8 is made", "How it is measured")


@dataclass(frozen=True)
class InferenceRequest:
    """What a user asks of inference. Empty ``precisions`` and ``threads``: what is usual on the device.

    Speed is measured with each of ``threads``, all else with the most of them.

    ``data`` None: what the network was trained on, or the model's usual data. ``measured`` bounds the samples that
    accuracy is taken on; ``floor`` is a share of FP32's; ``calibration`` the path of an artifact made before; ``seed``
    None: that of the training run, so that generated data are the same, else 0. ``batches`` empty: 1, 8, 32, or
    ``fixed_batch``, the only one that the ONNX file takes.
    """

    model: str | None = setting(None, group=NETWORK, metavar="NAME", help="The network; see 'dlcompare list'.")
    weights: str | None = setting(None, group=NETWORK, metavar="FILE",
                                  help="Its parameters: .safetensors, a PyTorch checkpoint, or the *.index.json of "
                                       "several files.")
    from_run: str | None = setting(None, group=NETWORK, metavar="RUN",
                                   help="Take the network that a training run with --save has left; its model, image "
                                        "size and data need not be named.")
    onnx: str | None = setting(None, group=NETWORK, metavar="FILE",
                               help="A classifier of your own in FP32, instead of --model.")
    output: str | None = setting(None, group=NETWORK, metavar="NAME",
                                 help="The output of the ONNX file that holds a score for each class.")
    label_offset: int | None = setting(None, group=NETWORK, least=0, metavar="N",
                                       help="How much higher a class of the ONNX file is than its label: 1 if class 0 "
                                            "is the background.")
    fixed_batch: int | None = setting(None)  # that of the ONNX file
    labelled: bool = setting(True)  # whether --inputs, if they are given, hold labels
    image_size: int | None = setting(None, group=NETWORK, least=1, metavar="PIXELS", help="Side of the square image.")
    classes: int | None = setting(None, group=NETWORK, least=2, metavar="N",
                                  help="Classes that the last layer tells apart; default: those of the run, the "
                                       "weights, or the data, else as published.")
    engines: tuple[str, ...] = setting(
        (), group=COMPARED, flag="--engine", metavar="NAME[,NAME...]",
        help="Engines to compare: onnxruntime, openvino, tensorrt, or a framework, whose own predict is then measured.")
    precisions: tuple[str, ...] = setting(
        (), group=COMPARED, flag="--precision", metavar="NAME[,NAME...]",
        help=f"Of {', '.join(PRECISIONS)}; default: fp32,int8, on CUDA fp32,fp16,int8.")
    batches: tuple[int, ...] = setting((), group=COMPARED, flag="--batch", metavar="N[,N...]",
                                       help="Samples at once; default 1,8,32, or what the ONNX file fixes.")
    data: str | None = setting(None, group=COMPARED, metavar="NAME[:ARG]",
                               help="digits, shapes, imagefolder:PATH ...; default: what the network was trained on.")
    mean: tuple[float, ...] = setting((), group=IMAGES, metavar="X[,X,X]",
                                      help="Mean of pixels; default: that of the data, ImageNet's for files.")
    std: tuple[float, ...] = setting((), group=IMAGES, metavar="X[,X,X]", help="Deviation of pixels, likewise.")
    pixels: float = setting(1.0, group=IMAGES, above=0, metavar="WHITE",
                            help="What white is before --mean and --std: 1, or 255.")
    channels: str = setting("rgb", group=IMAGES, choices=CHANNELS, help="Order of channels that the network reads.")
    crop: float | None = setting(None, group=IMAGES, least=0.1, most=1, metavar="SHARE",
                                 help="Share of the shorter side that the centre crop is; default: 0.875 of files "
                                      "(224 of 256), 1: all of it.")
    resize: str = setting(COVER, group=IMAGES, choices=RESIZES,
                          help="Keep an image's ratio and cut the centre, or squash it, all of it unless --crop says "
                               "otherwise.")
    layout: str | None = setting(None, group=IMAGES, choices=LAYOUTS,
                                 help="Order of axes of an ONNX file's images; default: told from their shape.")
    inputs: str | None = setting(None, group=COMPARED, metavar="FILE",
                                 help="Inputs of your own by name, instead of --data: a .npz file or a folder of .npy "
                                      "files. Without an array 'label' no accuracy is told, but same answers, noise "
                                      "and speed.")
    device: str = setting("cpu", group=COMPARED, choices=DEVICES, help="Where engines run.")
    threads: tuple[int, ...] = setting((), group=COMPARED, metavar="N[,N...]",
                                       help="CPU threads of an engine; default: all cores. Of several speed alone is "
                                            "measured with each.")
    calibrator: str = setting("auto", group=INT8, flag="--calibrate", choices=CALIBRATORS,
                              help="How the range of an activation follows from its histogram; auto: by the rule that "
                                   "comes nearest to FP32 on samples held back from calibration.")
    calibration_samples: int | None = setting(
        None, group=INT8, least=1, metavar="N",
        help="Samples to take histograms over; default: 1250, or half of a smaller split.")
    calibration: str | None = setting(
        None, group=INT8, metavar="FILE",
        help="Histograms collected by an earlier run of the same network, instead of new ones.")
    weight_bits: str = setting(
        "auto", group=INT8, choices=("auto", "7", "8"),
        help="Bits of INT8 weights; auto: 7 for engines whose products saturate on this device, else 8.")
    protocol: str = setting("split", group=INT8, choices=PROTOCOLS,
                            help="split: calibrate with training samples, measure on all test samples; xu2018: both "
                                 "from the test split, never the same ones.")
    equalise: bool = setting(False, group=INT8,
                             help="Balance channels across layers before quantising (Nagel et al. 2019).")
    search: bool = setting(False, group=INT8,
                           help="Leave the most sensitive tensors in FP32, one after another, until the accuracy floor "
                                "holds.")
    layers: bool = setting(False, group=MEASURED,
                           help="Show INT8 beside FP32 layer by layer too, on a few samples.")
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
    on_bad_sample: str = setting(FAIL, group=COMPARED, choices=(FAIL, SKIP),
                                 help="What to do about samples that cannot be used; skip looks at all beforehand and "
                                      "leaves the same ones out of every job.")
    loaders: int = setting(1, group=PLACE, least=1, metavar="N", help="Image-decoding processes.")
    plot: str | None = setting(None, group=PLACE, once=True, metavar="FILE",
                               help="Draw throughput against batch as .png or .svg.")

    def __post_init__(self) -> None:
        check(self)
        for name, allowed in (("precisions", PRECISIONS), ("scenarios", SCENARIOS)):
            for value in getattr(self, name):
                among(name[:-1], value, allowed)
        if self.calibrator in OWN and (self.equalise or self.search or self.calibration or self.layers
                                         or self.weight_bits != "auto"):
            raise UsageError(f"--calibrate {self.calibrator} leaves INT8 to the engine, so --equalise, --search, "
                             "--calibration, --layers and --weight-bits have nothing to work on; leave them out, or "
                             "use --calibrate auto")
        if not self.engines:
            raise UsageError("at least one engine must be named, as in --engine onnxruntime")
        if min(self.batches, default=1) < 1:
            raise UsageError(f"a batch has at least 1 sample, not {min(self.batches)}")
        if min(self.threads, default=1) < 1:
            raise UsageError(f"--threads must be at least 1, not {min(self.threads)}")
        if self.floor is not None and not 0 < self.floor <= 1:
            raise UsageError(f"--accuracy-floor is a share of FP32's accuracy, above 0 and at most 1, not {self.floor}")

    @property
    def source(self) -> Source:
        """Return where the network comes from."""
        return Source(model=self.model, image_size=self.image_size, classes=self.classes, weights=self.weights,
                      seed=self.seed or 0, output=self.output, label_offset=self.label_offset,
                      preprocessing=Preprocessing(self.layout, self.channels, self.mean, self.std, self.pixels,
                                                  self.crop, self.resize),
                      scored=self.accuracy and self.labelled and has_labels(str(self.data)), labelled=self.labelled,
                      arrays=self.inputs,
                      run=Path(self.from_run) if self.from_run else None, onnx=Path(self.onnx) if self.onnx else None)

    def engine_calibrates(self, precision: str) -> bool:
        """Return whether a precision is INT8 whose ranges the engine itself finds."""
        return precision == "int8" and self.calibrator in OWN


def has_labels(data: str) -> bool:
    """Return whether a dataset's samples are real: the labels of synthetic data are drawn at random."""
    return data.partition(":")[0] != "synthetic"


def among(what: str, value: str, allowed: Sequence[str]) -> None:
    """Raise UsageError if a value is not among those allowed."""
    if value not in allowed:
        raise UsageError(f"unknown {what} {value!r}; there is: {', '.join(allowed)}")
