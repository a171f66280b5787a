"""Where a network comes from, as the command line names it; nothing is read but what a training run has left."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlcompare.core.data.preprocess import Preprocessing
from dlcompare.core.errors import UsageError
from dlcompare.core.json_file import read_json
from dlcompare.core.typed_json import read
from dlcompare.core.variables import JOB, WEIGHTS

TOLD = {"framework": str, "model": str, "data": str, "image_size": int | None, "classes": int | None}  # of a job


@dataclass(frozen=True)
class Source:
    """What the command line names, and what its images are to be like.

    Of ``weights``, ``run`` and ``onnx`` at most one is given, else UsageError.

    Of a user's ONNX file ``scored`` says whether its answers are held against labels, ``output`` which of its outputs
    are the scores of classes, ``label_offset`` how much higher a class's number is than its label; ``arrays`` where a
    user's own inputs are, and ``labelled`` whether there are labels.
    """

    model: str | None = None
    image_size: int | None = None
    classes: int | None = None
    weights: str | None = None
    run: Path | None = None
    onnx: Path | None = None
    seed: int = 0
    output: str | None = None
    scored: bool = True
    label_offset: int | None = None
    arrays: str | None = None
    labelled: bool = True
    preprocessing: Preprocessing = field(default_factory=Preprocessing)

    def __post_init__(self) -> None:
        given = [f"--{name}" for name, value in (("weights", self.weights), ("from-run", self.run),
                                                 ("onnx", self.onnx)) if value]
        if self.onnx and self.classes:
            raise UsageError("--classes is for networks of dlcompare's own; an ONNX file has its last layer in it, so "
                             "leave --classes out")
        if len(given) > 1:
            raise UsageError(f"{' and '.join(given)} both name the network's parameters; leave one of them out")


def trained_cell(run: Path) -> Path:
    """Return the folder below a run, or the run itself, that holds trained parameters; UsageError unless it is one."""
    found = [run] if (run / WEIGHTS).is_file() else sorted(file.parent for file in run.glob(f"*/{WEIGHTS}"))
    if len(found) == 1 and (found[0] / JOB).is_file():
        return found[0].resolve()
    if not found:
        raise UsageError(f"{run} holds no trained parameters; train with --save, as in: dlcompare --framework "
                         "pytorch-ddp --model resnet18 --target top1=0.97 --save")
    raise UsageError(f"{run} holds the parameters of {len(found)} jobs; name one: "
                     f"{', '.join(str(one) for one in found)}")


def trained_job(cell: Path) -> dict[str, Any]:
    """Return what the job in such a folder tells of the network that it trained; UsageError if it is none."""
    job = read_json(cell / JOB, what="the job of a training")
    try:
        return {name: read(wanted, job.get(name), what=f"job {name}") for name, wanted in TOLD.items()}
    except (AttributeError, UsageError) as error:
        raise UsageError(f"{cell / JOB} is not the job of a training: {error}; name the run of one with --from-run"
                         ) from error
