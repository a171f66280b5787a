"""Settings: fields of a dataclass that carry what they may be, what they mean, and where they matter.

A job's fields are written once, here made; the command line's options, a side's own settings, the checks, the line that
repeats a job, and what counts as arithmetic are all read off them.
"""

from __future__ import annotations

import dataclasses
import math
import shlex
import typing
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import UsageError, unknown
from .typed_json import types_of


@dataclass(frozen=True)
class Setting:
    """What a field carries.

    ``group`` is the panel of ``--help`` it stands in, "" for a field that the command line does not offer; ``machine``:
    the plan chooses it where nobody says, so a repetition must be told; ``once``: it matters to one run alone, so a
    repetition leaves it out; ``side``: it may be given for one side alone, as in ``NAME:SETTING=VALUE``;
    ``arithmetic``: a certificate speaks only for jobs that share it; ``gap``: moving it may explain a gap between
    frameworks; ``build``: an engine's build depends on it; ``percent``: people give it in percent; ``flag``: the
    option's name where it is not the field's; ``axis``: several values of it make a matrix, where a kind sweeps;
    ``words``: what may be said instead of a value there.
    """

    help: str = ""
    group: str = ""
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    above: float | None = None
    metavar: str | None = None
    told: bool = False
    once: bool = False
    machine: bool = False
    side: bool = False
    arithmetic: bool = False
    gap: bool = False
    build: bool = False
    percent: bool = False
    flag: str = ""
    axis: bool = False
    words: tuple[str, ...] = ()
    per_device: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # defaults other than the field's own

    def option(self, name: str) -> str:
        """Return what the command line calls the field of this name."""
        return self.flag or f"--{name.replace('_', '-')}"


def setting(default: Any = dataclasses.MISSING, **about: Any) -> Any:
    """Return a dataclass field that carries a :class:`Setting`."""
    return dataclasses.field(default=default, metadata={"setting": Setting(**about)})


def settings_of(cls: Any) -> dict[str, Setting]:
    """Return the settings of a dataclass by field name, in order."""
    return {spec.name: spec.metadata["setting"] for spec in dataclasses.fields(cls) if "setting" in spec.metadata}


def having(cls: Any, what: str) -> tuple[str, ...]:
    """Return the fields of a dataclass whose setting is marked as ``what``: "arithmetic", "side", "gap" ..."""
    return tuple(name for name, about in settings_of(cls).items() if getattr(about, what))


def default_of(cls: Any, name: str, *, device: str = "cpu") -> Any:
    """Return a setting's default on a device."""
    spec = next(spec for spec in dataclasses.fields(cls) if spec.name == name)
    return settings_of(cls)[name].per_device.get(device, spec.default)


def scalar(cls: Any, name: str) -> type:
    """Return the type of a field without its None."""
    wanted = types_of(cls)[name]
    found = [one for one in typing.get_args(wanted) or (wanted,) if one is not type(None)]
    kind: type = found[0]
    return kind


def check(settings: Any) -> None:
    """Raise UsageError if a field of a dataclass holds what its setting does not allow."""
    for name, about in settings_of(type(settings)).items():
        value, words = getattr(settings, name), name.replace("_", "-")
        if value is None:
            continue
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"{words} must be finite, not {value}")
        if about.choices and value not in about.choices:
            raise unknown(words, str(value), about.choices)
        if about.least is not None and not value >= about.least:
            raise UsageError(f"{words} must be at least {about.least:g}, not {value}")
        if about.most is not None and not value <= about.most:
            raise UsageError(f"{words} must be at most {about.most:g}, not {value}")
        if about.above is not None and not value > about.above:
            raise UsageError(f"{words} must be above {about.above:g}, not {value}")


def parse_value(cls: Any, name: str, text: str) -> Any:
    """Return a setting's value from text; ValueError if it is not of its type."""
    return scalar(cls, name)(text)


def repetition(command: str, settings: Any, without: Collection[str] = ()) -> str:
    """Return the shell line that asks for these settings again, those a machine chooses and those not usual named.

    Those of ``without`` are left out: the command does not offer them.
    """
    return shlex.join([*command.split(), *words(settings, without)])


def words(settings: Any, without: Collection[str] = ()) -> Iterator[str]:
    """Yield the options that ask for these settings."""
    for name, about in settings_of(type(settings)).items():
        if name in without:
            continue
        value, default = getattr(settings, name), default_of(type(settings), name)
        unusual = about.told or about.machine or value != default
        if not about.group or about.once or value is None or not unusual:
            continue
        if not isinstance(value, bool):
            yield from (about.option(name), ",".join(map(str, value)) if isinstance(value, tuple) else str(value))
        elif value != default:
            yield about.option(name)
