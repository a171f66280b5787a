"""``dlcompare env``: the environments that frameworks and engines run in."""

from __future__ import annotations

import sys
from pathlib import Path

import rich_click as click

from dlcompare.core.plugins.job import DEVICES

from .echo import echo
from .options import option

NAME = click.argument("framework", required=False)
DEVICE = option("--device", type=click.Choice(DEVICES), default="cpu", help="The accelerator it is for.")


@click.group()
def env() -> None:
    """The environments that frameworks run in: list, create, remove, doctor."""


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
    from dlcompare.core.environments import resolve
    from dlcompare.core.reports.environments import select

    specs = [(name, kind, spec) for name, kind, spec in select(framework, device) if spec]
    made = resolve.create_all(specs, lambda line: echo(line, err=True))
    for (name, kind), python in made.items():
        echo(f"{name} on {kind}: {python}")
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
