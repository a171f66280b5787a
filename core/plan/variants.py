"""Frameworks as they are asked for: ``NAME`` or ``NAME:SETTING=VALUE[:...]``, one with settings of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dlcompare.core.errors import UsageError, unknown
from dlcompare.core.plugins.job import Job
from dlcompare.core.settings import parse_value, settings_of

BEGINNING = re.compile(r":(?=[\w-]+=)")  # a colon within a value, as in data=imagefolder:PATH, begins no setting


@dataclass(frozen=True)
class Variant:
    """A framework, and what is otherwise for it than for the other sides of a comparison."""

    framework: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Return the settings as text, "" if there are none."""
        return ":".join(f"{name}={value}" for name, value in self.settings.items())

    @property
    def name(self) -> str:
        """Return what tables call this side."""
        return ":".join(part for part in (self.framework, self.text) if part)


def parse(text: str) -> Variant:
    """Return the variant that a user named; UsageError if a setting does not exist or its value does not parse."""
    framework, *parts = BEGINNING.split(text)
    allowed = [name for name, about in settings_of(Job).items() if about.side]
    settings: dict[str, Any] = {}
    for part in parts:
        name, _, value = part.partition("=")
        if name not in allowed:
            raise unknown(f"setting of {framework}", name, allowed)
        if name in settings or not value:
            raise UsageError(f"{text}: {name} must be given once, with a value, as in {framework}:{name}=VALUE")
        try:
            settings[name] = parse_value(Job, name, value)
        except ValueError:
            raise UsageError(f"{text}: {name} takes a whole number, not {value!r}") from None
    return Variant(framework, settings)
