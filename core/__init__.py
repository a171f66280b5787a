"""The framework-free half of dlcompare: graph, protocol, records, and the contracts a plug-in fulfils."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pluggy

    hookspec = pluggy.HookspecMarker("dlcompare")
    hookimpl = pluggy.HookimplMarker("dlcompare")

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Make the markers of hooks when they are asked for: the import path is then ours alone (see ``isolation``)."""
    if name not in ("hookspec", "hookimpl"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pluggy

    globals().update(hookspec=pluggy.HookspecMarker("dlcompare"), hookimpl=pluggy.HookimplMarker("dlcompare"))
    return globals()[name]
