"""``dlcompare env``: the state of every backend's environment, for people."""

from __future__ import annotations

from dlcompare.core.environments import health, resolve
from dlcompare.core.errors import unknown
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.plugins.runtime import EnvironmentSpec, Runtime


def select(framework: str | None, *devices: str) -> list[tuple[str, str, resolve.Spec]]:
    """Return (name, device, specification) for one framework or engine, or all, on the devices each offers."""
    known: dict[str, Runtime] = {**plugins().backends(), **plugins().engines(), **plugins().backends()}
    if framework is not None and framework not in known:
        raise unknown("framework or engine", framework, known)
    chosen = [known[framework]] if framework else list(known.values())
    return [(b.name, d, resolve.ask(b, d)) for b in chosen for d in b.devices if not devices or d in devices]


def select_broken(framework: str | None, device: str) -> list[tuple[str, str, EnvironmentSpec]]:
    """Return those of a selection that are there and in which the framework does not run."""
    return [(name, kind, spec) for name, kind, spec in select(framework, device)
            if isinstance(spec, EnvironmentSpec) and health.broken(name, kind, spec)]


def render_list() -> str:
    """Return a line per environment: state, Python, size, path or reason."""
    rows = [(s.name, s.device, s.state, s.python, resolve.megabytes(s.size) if s.size else "",
             " · ".join(str(part) for part in (s.path, s.why, s.note) if part)) for s in resolve.status(select(None))]
    head = ("framework", "device", "state", "python", "size", "where")
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(5)]
    lines = ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[5]]).rstrip()
             for row in [head, *rows]]
    return "\n".join(lines)


def render_checks(framework: str | None, device: str) -> tuple[str, bool]:
    """Return the doctor's findings as text, and whether all is well."""
    lines, healthy = [], True
    for name, kind, spec in select(framework, device):
        lines.append(f"{name} on {kind}")
        for found in health.doctor(name, kind, spec):
            healthy &= found.ok
            lines.append(f"  {'ok ' if found.ok else 'NO '} {found.what:<12} {found.detail}")
    return "\n".join(lines), healthy
