"""What a framework or engine chose of all that could differ between runs, as it tells itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Choices:
    """How the network was executed and laid out in memory, where that is told, and whatever else it names as ``own``.

    Names and values of the latter are the framework's or engine's.
    """

    execution: str | None = None
    layout: str | None = None
    own: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Choices:
        """Return the choices that a trainer or session tells."""
        own = {name: value for name, value in told.items() if name not in ("execution", "layout")}
        return cls(told.get("execution"), told.get("layout"), own)

    def flat(self) -> dict[str, Any]:
        """Return all of them by name, as they were told."""
        common = {"layout": self.layout, "execution": self.execution}
        return {**{name: value for name, value in common.items() if value is not None}, **self.own}
