"""What a plugin may offer. Every hook returns a list; an empty plugin is a valid plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlcompare.core import hookspec
from dlcompare.core.data import DatasetKind
from dlcompare.core.graph.model import Model

from .backend import Backend
from .engine import Engine

if TYPE_CHECKING:
    from dlcompare.core.meters.meter import Meter


@hookspec
def dlcompare_backends() -> list[Backend]:  # type: ignore[empty-body]
    """Frameworks that can train a model."""


@hookspec
def dlcompare_models() -> list[Model]:  # type: ignore[empty-body]
    """Networks that every backend can build."""


@hookspec
def dlcompare_datasets() -> list[DatasetKind]:  # type: ignore[empty-body]
    """Sources of samples."""


@hookspec
def dlcompare_engines() -> list[Engine]:  # type: ignore[empty-body]
    """Engines that can run a trained network."""


@hookspec
def dlcompare_meters() -> list[Meter]:  # type: ignore[empty-body]
    """Meters of energy, power, and whatever else a machine tells of a window."""
