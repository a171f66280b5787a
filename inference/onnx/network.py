"""The network to infer with: one of ours with its parameters, from a file or a training run, or a user's ONNX file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dlcompare.core.data.preprocess import USUAL, Preprocessing, looks_last
from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Graph, Input
from dlcompare.core.graph.params import Weights, initial_params, load_weights, params_sha256, write_params
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.variables import WEIGHTS

from .source import Source, trained_cell, trained_job

if TYPE_CHECKING:
    import onnx

DAMAGED = (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError)
LABEL = Input((), "int64", "label")  # what a user's own classifier is held against


@dataclass(frozen=True)
class Network:
    """A network in FP32 and where it comes from. ``weights`` is None for a user's ONNX file: no framework runs that.

    ``origin`` says in words whose parameters these are; ``trained`` is False for ones that nobody has trained.
    ``fixed_batch`` is the only batch size it takes, None for any.
    """

    name: str
    task: str
    inputs: Mapping[str, Input]
    outputs: tuple[str, ...]
    model: onnx.ModelProto
    image_size: int | None
    classes: int | None  # of the last layer, if not the model's own
    weights: Path | None
    params_sha256: str | None
    origin: str
    trained: bool
    fixed_batch: int | None = None
    preprocessing: Preprocessing = USUAL


def network(source: Source, folder: Path) -> Network:
    """Return the network of a source, its parameters written into the folder.

    Raises:
        UsageError: the source does not exist or does not fit the model.
    """
    if source.onnx:
        return of_file(source, source.onnx)
    if source.run:
        cell = trained_cell(source.run)
        job = trained_job(cell)
        source = dataclasses.replace(source, run=None, model=source.model or job["model"], weights=str(cell / WEIGHTS),
                                     image_size=source.image_size or job["image_size"],
                                     classes=source.classes or job["classes"])
        return of_model(source, folder, origin=f"trained by {job['framework']} on {job['data']}, {cell}")
    return of_model(source, folder, origin=source.weights or f"initial parameters of seed {source.seed}")


def of_model(source: Source, folder: Path, *, origin: str) -> Network:
    """Return one of our models, exported."""
    from .export import export

    if not source.model:
        raise UsageError("--model must be given, as in: dlcompare infer --model resnet50 --weights FILE; or --onnx "
                         "FILE, or --from-run RUN; 'dlcompare list' shows what models there are")
    model = plugins().model(source.model)
    graph = model.graph(source.image_size, source.classes)
    read = load_weights(source.weights, graph, source.seed) if source.weights else None
    params = read.params if read else initial_params(graph, source.seed)
    weights = folder / WEIGHTS
    write_params(weights, params)
    image = graph.inputs.get("image")
    return Network(model.name, model.task, graph.inputs, tuple(k for k in graph.outputs if k != "loss"),
                   export(graph, params), image.shape[-1] if image else None, source.classes, weights,
                   params_sha256(params), origin + (in_part(read, source.seed) if read else ""),
                   trained=read is not None and not answers_drawn(graph, read),
                   preprocessing=dataclasses.replace(source.preprocessing, layout="nchw").fitted(graph.inputs))


def answers_drawn(graph: Graph, read: Weights) -> bool:
    """Return whether what the network answers depends on a parameter that the file does not hold."""
    answers = graph.needed(*(name for name in graph.outputs if name != "loss"))
    return any(node.param_name(local) in read.drawn for node in answers for local in node.params)


def in_part(read: Weights, seed: int) -> str:
    """Return in words what a file of weights lacks, and what it holds besides; "" where it fits exactly."""
    said = {f"drawn from seed {seed}": read.drawn, "left unread": read.unread}
    return "".join(f"; {what}: {', '.join(names)}" for what, names in said.items() if names)


def of_file(source: Source, path: Path) -> Network:
    """Return a user's own network: a classifier where its answers are held against labels. UsageError if it is none."""
    try:
        return read_network(source, path)
    except DAMAGED as error:  # what the checker passes over may raise anything where it is used
        raise UsageError(f"{str(path)!r} is not a valid ONNX model ({type(error).__name__}: "
                         f"{' '.join(str(error).split())[:200]}). Export it again") from error


def read_network(source: Source, path: Path) -> Network:
    from .fold_batch_norm import fold_batch_norms
    from .inputs import batch, declared_inputs
    from .numbers import check_numbers
    from .outputs import class_scores, named
    from .read import read
    from .tidy import halves, tidy

    held = read(path)
    model = fold_batch_norms(tidy(held))
    check_numbers(model, path)
    inputs = declared_inputs(model, shapes_in(source.arrays) if source.arrays else None)
    outputs, classes = tuple(value.name for value in model.graph.output), None
    if source.scored:
        scores = class_scores(model, source.output)
        outputs, classes = (scores.name,), scores.shape[1] if scores.shape else None
    elif source.output:
        outputs = (named(model, source.output),)
    task = "classification" if source.labelled else "outputs"
    if source.labelled:
        inputs["label"] = dataclasses.replace(LABEL, high=classes and classes - (source.label_offset or 0))
    return Network(path.stem, task, inputs, outputs, model, side(inputs), None, None, None,
                   f"{path}{', its floats of 16 bits as float32' if halves(held) else ''}", trained=True,
                   fixed_batch=batch(model), preprocessing=source.preprocessing.fitted(inputs))


def shapes_in(arrays: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a user's own arrays by name."""
    from dlcompare.core.data.arrays import read

    return {name: value.shape for name, value in read(arrays).items()}


def side(inputs: Mapping[str, Input]) -> int | None:
    """Return the side of the square image that is the first input; None if it is none."""
    shape = next(iter(inputs.values())).shape
    height, width = (shape[:2] if looks_last(inputs) else shape[1:]) if len(shape) == 3 else (0, 1)
    return height if height == width else None
