"""Options of the command line, read off the settings of dataclasses, and dataclasses made of what was given."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import rich_click as click
from click.types import convert_type

from dlcompare.core.settings import Setting, default_of, scalar, settings_of
from dlcompare.core.typed_json import types_of

GROUPS = ("What is compared", "The network", "What its images are like", "How it trains", "How INT8 is made",
          "How it is measured", "How it is judged", "Where it runs and what comes out")  # as --help shows them
click.rich_click.TEXT_MARKUP = "rich"
click.rich_click.STYLE_OPTION = "bold"


class Several(click.ParamType):
    """NAME[,NAME...] or N[,N...], each once, or X[,X...], as a tuple."""

    name = "list"

    def __init__(self, kind: type) -> None:
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        if isinstance(value, tuple):
            return value
        every = [word.strip() for word in value.split(",") if word.strip()]
        words = every if self.kind is float else list(dict.fromkeys(every))
        if self.kind is int and (not words or not all(word.isdigit() for word in words)):
            self.fail(f"takes numbers such as 1,2, not {value!r}", param, ctx)
        try:
            return tuple(self.kind(word) for word in words)
        except ValueError:
            self.fail(f"takes numbers such as 0.5,0.25, not {value!r}", param, ctx)


class Axis(click.ParamType):
    """VALUE[,VALUE...], each of a type of click's or one of some words, as a tuple."""

    name = "list"

    def __init__(self, one: click.ParamType, words: Sequence[str]) -> None:
        self.one, self.words = one, words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        if not isinstance(value, str):
            return value if isinstance(value, tuple) else (value,)
        found = [word.strip() for word in value.split(",") if word.strip()]
        if not found:
            self.fail(f"takes one value or several, such as 1,2, not {value!r}", param, ctx)
        return tuple(self.value(word, param, ctx) for word in found)

    def value(self, word: str, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return one value; what is wrong with it is said with the words that may stand there instead."""
        if word in self.words:
            return word
        try:
            return self.one.convert(word, param, ctx)
        except click.BadParameter as error:
            self.fail(", nor ".join([error.message.rstrip("."), *self.words]), param, ctx)


def flatten(context: click.Context, param: click.Parameter, found: Sequence[tuple[Any, ...]]) -> Any:
    """Return what was given of an axis: a single value, several as a tuple, each once, or None."""
    values = tuple(dict.fromkeys(value for part in found for value in part))
    return values if len(values) > 1 else values[0] if values else None


def option(*names: str, **kwargs: Any) -> Callable[[Any], Any]:
    """Return click's option, its default shown if it has one."""
    return click.option(*names, **{"show_default": kwargs.get("default") is not None, **kwargs})


def settings_by_name(cls: Any, without: Iterable[str] = ()) -> dict[str, Setting]:
    """Return the settings of a dataclass that the command line offers, by field name."""
    return {name: about for name, about in settings_of(cls).items() if about.group and name not in set(without)}


def options_of(cls: Any, without: Iterable[str] = (), *, sweeps: bool = False) -> dict[str, Callable[[Any], Any]]:
    """Return a click option for each setting of a dataclass that is offered, by field name.

    ``sweeps``: those that are axes take several values.
    """
    found = settings_by_name(cls, without)
    return {name: of_setting(cls, name, about, several=sweeps and about.axis) for name, about in found.items()}


def of_setting(cls: Any, name: str, about: Setting, *, several: bool = False) -> Callable[[Any], Any]:
    """Return the click option of one setting, or of an axis, which takes several of its values."""
    default, kind, help_ = default_of(cls, name), type_of(cls, name, about), about.help
    if kind is bool:
        return click.option(about.option(name), name, is_flag=True, default=default, flag_value=not default, help=help_)
    if about.per_device:
        told = ", ".join(f"on {device.upper()} {value}" for device, value in about.per_device.items())
        help_ = f"{help_} Default {default}, {told}."
    required = default is dataclasses.MISSING
    shown = None if required or about.machine or about.per_device else default
    if about.percent and shown is not None:
        shown = 100 * shown
    show = shown not in (None, (), "") and "default" not in help_.lower()
    if several:
        axis, values = Axis(convert_type(kind), about.words), about.choices or (about.metavar or "",)
        one = "|".join((*values, *about.words))
        return option(about.option(name), name, type=axis, metavar=f"{one}[,...]", multiple=True, callback=flatten,
                      default=None if shown in (None, "") else (shown,), help=help_, show_default=show)
    return option(about.option(name), name, type=kind, metavar=about.metavar, default=shown, help=help_,
                  show_default=show)


def type_of(cls: Any, name: str, about: Setting) -> Any:
    """Return the type that click reads a setting with."""
    wanted = types_of(cls)[name]
    if typing.get_origin(wanted) is tuple:
        return Several(typing.get_args(wanted)[0])
    kind = scalar(cls, name)
    if about.choices:
        return click.Choice(about.choices)
    if kind is int and about.least is not None:
        return click.IntRange(int(about.least), None if about.most is None else int(about.most))
    if kind is float and (about.least is not None or about.above is not None):
        top = 100.0 if about.percent else about.most
        return click.FloatRange(about.least if about.above is None else about.above, top,
                                min_open=about.above is not None)
    return click.Path(path_type=Path) if kind is Path else kind


def make(cls: Any, given: Mapping[str, Any], without: Iterable[str] = ()) -> Any:
    """Return a dataclass of the options that were given to it; what is None takes the field's own default."""
    values = {name: given[name] for name in settings_by_name(cls, without) if given.get(name) is not None}
    return cls(**{name: value / 100 if settings_of(cls)[name].percent else value for name, value in values.items()})


def apply(command: Callable[..., Any], found: Sequence[Callable[[Any], Any]]) -> Any:
    """Put options on a command, in the order they are written."""
    for one in reversed(found):
        command = one(command)
    return command


def panels(command: str, settings: Mapping[str, Setting]) -> None:
    """Let a command's ``--help`` show its options in groups."""
    groups: dict[str, list[str]] = {name: [] for name in GROUPS}
    for name, about in settings.items():
        groups.setdefault(about.group, []).append(about.option(name))
    click.rich_click.OPTION_GROUPS[command] = [{"name": name, "options": found} for name, found in groups.items()
                                               if found]
