"""The network to infer with: one of ours with its parameters, from a file or a training run, or a user's ONNX file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Input
from dlcompare.core.graph.params import initial_params, params_sha256, read_weights, write_params
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.variables import WEIGHTS

from .source import Source, trained_cell

if TYPE_CHECKING:
    import onnx

LABEL = Input((), "int64", "label")  # what a user's own classifier is held against


@dataclass(frozen=True)
class Network:
    """A network in FP32 and where it comes from. ``weights`` is None for a user's ONNX file: no framework runs that.

    ``origin`` says in words whose parameters these are; ``trained`` is False for ones that nobody has trained.
    """

    name: str
    task: str
    inputs: Mapping[str, Input]
    outputs: tuple[str, ...]
    model: onnx.ModelProto
    image_size: int | None
    weights: Path | None
    params_sha256: str | None
    origin: str
    trained: bool


def network(source: Source, folder: Path) -> Network:
    """Return the network of a source, its parameters written into the folder.

    Raises:
        UsageError: the source does not exist or does not fit the model.
    """
    if source.onnx:
        return of_file(source.onnx)
    if source.run:
        cell = trained_cell(source.run)
        job = json.loads((cell / "job.json").read_text())
        source = dataclasses.replace(source, run=None, model=source.model or job["model"], weights=str(cell / WEIGHTS),
                                     image_size=source.image_size or job["image_size"])
        return of_model(source, folder, origin=f"trained by {job['framework']} on {job['data']}, {cell}")
    return of_model(source, folder, origin=source.weights or f"initial parameters of seed {source.seed}")


def of_model(source: Source, folder: Path, *, origin: str) -> Network:
    """Return one of our models, exported."""
    from .export import export

    if not source.model:
        raise UsageError("--model must be given, as in: dlcompare infer --model resnet50 --weights FILE; or --onnx "
                         "FILE, or --from-run RUN; 'dlcompare list' shows what models there are")
    model = plugins().model(source.model)
    graph = model.graph(source.image_size)
    params = read_weights(source.weights, graph) if source.weights else initial_params(graph, source.seed)
    weights = folder / WEIGHTS
    write_params(weights, params)
    image = graph.inputs.get("image")
    return Network(model.name, model.task, graph.inputs, tuple(k for k in graph.outputs if k != "loss"),
                   export(graph, params), image.shape[-1] if image else None, weights, params_sha256(params), origin,
                   trained=bool(source.weights))


def of_file(path: Path) -> Network:
    """Return a user's own classifier."""
    from .fold_batch_norm import fold_batch_norms
    from .read import BEST, batch, declared_inputs, read

    model = fold_batch_norms(read(path))
    if fixed := batch(model):
        raise UsageError(f"{path} takes batches of {fixed} alone, but here several sizes are run; {BEST}")
    inputs = declared_inputs(model)
    shapes = [spec.shape for spec in inputs.values()]
    return Network(path.stem, "classification", {**inputs, "label": LABEL},
                   tuple(value.name for value in model.graph.output), model,
                   shapes[0][-1] if len(shapes[0]) == 3 else None, None, None, str(path), trained=True)
