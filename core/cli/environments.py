"""``dlcompare env``: the environments that frameworks and engines run in."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import rich_click as click

from dlcompare.core.plugins.job import DEVICES

from .echo import echo
from .options import option

NAME = click.argument("framework", required=False)
DEVICE = option("--device", type=click.Choice(DEVICES), default="cpu", help="The accelerator it is for.")


@click.group()
def env() -> None:
    """The environments that frameworks run in: list, create, remove, doctor, repair."""


@env.command("list")
def env_list() -> None:
    """Show which environments there are, and why one cannot be had."""
    from dlcompare.core.reports.environments import render_list

    echo(render_list())


@env.command("create")
@NAME
@DEVICE
def env_create(framework: str | None, device: str) -> None:
    """Make a framework's environment, or all of them, from its lock file."""
    from dlcompare.core.environments.health import create_checked
    from dlcompare.core.reports.environments import select

    make([(name, kind, spec) for name, kind, spec in select(framework, device) if spec], create_checked)


@env.command("repair")
@NAME
@DEVICE
def env_repair(framework: str | None, device: str) -> None:
    """Make those environments anew that are there and in which the framework does not run."""
    from dlcompare.core.environments.health import repair
    from dlcompare.core.reports.environments import select_broken

    ill = select_broken(framework, device)
    if not ill:
        echo("no environment that is there is broken; dlcompare env create makes absent ones")
    make(ill, repair)


def make(wanted: Sequence[Any], how: Callable[..., Path]) -> None:
    """Make environments and print where they are; end with exit code 1 if one cannot be had."""
    from dlcompare.core.environments import resolve

    made = resolve.create_all(wanted, lambda line: echo(line, err=True), how)
    for (name, kind), python in made.items():
        echo(f"{name} on {kind}: {str(python).removeprefix(f'{name} on {kind}: ')}")  # errors say it themselves
    sys.exit(0 if all(isinstance(python, Path) for python in made.values()) else 1)


@env.command("remove")
@NAME
@DEVICE
def env_remove(framework: str | None, device: str) -> None:
    """Remove a framework's environment, or all of them; built wheels are kept."""
    from dlcompare.core.environments import resolve
    from dlcompare.core.reports.environments import select

    for name, kind, _ in select(framework, device):
        echo(f"{name} on {kind}: {resolve.megabytes(resolve.remove(name, kind))} freed")


@env.command("doctor")
@NAME
@DEVICE
def env_doctor(framework: str | None, device: str) -> None:
    """Check all that an environment needs: Python, compilers, the lock file, the framework itself."""
    from dlcompare.core.reports.environments import render_checks

    text, healthy = render_checks(framework, device)
    echo(text)
    sys.exit(0 if healthy else 1)
