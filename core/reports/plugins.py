"""``dlcompare list``: what the loaded plugins offer, and those that could not be loaded."""

from __future__ import annotations

from dlcompare.core.plugins.registry import Plugins


def render(plugins: Plugins) -> str:
    """Return the frameworks, models, datasets and meters as aligned text, with their plugins' errors at the end."""
    frameworks = [(b.name, b.title, f"{'/'.join(b.devices)} · {'/'.join(b.precisions)}")
                  for b in plugins.backends().values()]
    engines = [(e.name, e.title, f"{'/'.join(e.devices)} · {'/'.join(e.precisions)}")
               for e in plugins.engines().values() if e.reads == "onnx"]
    models = [(m.name, m.task, m.reference) for m in plugins.models().values()]
    datasets = [(d.name, d.title, "") for d in plugins.datasets().values()]
    meters = [(one.name, one.title, "") for one in plugins.meters().values()]
    parts = [section("Frameworks", frameworks), section("Inference engines", engines), section("Models", models),
             section("Datasets", datasets), section("Meters", meters)]
    if plugins.broken:
        parts.append(section("Plugins that could not be loaded", [(b.name, b.error, "") for b in plugins.broken]))
    return "\n\n".join(parts)


def section(title: str, rows: list[tuple[str, str, str]]) -> str:
    """Return a title and its rows in columns."""
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(2)]
    lines = [f"  {a:<{widths[0]}}  {b:<{widths[1]}}  {c}".rstrip() for a, b, c in rows]
    return "\n".join([title, *(lines or ["  none"])])
