"""What the process of a compilation does: compile the train step and leave what the compiler says of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dlcompare.core.graph.params import initial_params
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.worker.ranks import leave

from .request import CompilationJob
from .result import RankResult

if TYPE_CHECKING:
    from dlcompare.core.launch.lifeline import Events


def work(job: CompilationJob, folder: Path, events: Events) -> None:
    """Compile the train step for devices that need not be here, and leave what the compiler says of it."""
    graph = plugins().model(job.model).graph(job.image_size, job.classes)
    backend = plugins().backend(job.framework)
    events("compile")
    leave(RankResult(backend.compile_only(graph, initial_params(graph, job.seed), job)), folder)
