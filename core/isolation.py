"""Keep what a shell says to every Python from this program and from all that it starts."""

import os
import sys
import warnings
from pathlib import Path

PATH = "PYTHONPATH"
QUIET = DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning  # as Python has it by itself


def isolate() -> None:
    """Keep ``PYTHON*`` variables from this program and its children; plug-ins are still found on PYTHONPATH.

    To be called before any package that is not Python's own is imported, for one on PYTHONPATH may hide it.
    """
    given = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("PYTHON")}
    if "PYTHONWARNINGS" in given:
        warnings.resetwarnings()
        for category in QUIET:
            warnings.simplefilter("ignore", category)
    # As Python has made them on its path: absolute, and the current folder where nothing stands between two colons.
    parts = given[PATH].split(os.pathsep) if given.get(PATH) else []
    places = [os.path.abspath(part) for part in parts]  # noqa: PTH100  (links stay as they are)
    here = sys.path[:1] if sys.path[0] in ("", str(Path.cwd())) else []  # `python -m` puts it before all others
    sys.path[:] = strangers_last(sys.path, [*here, *places])
    if ours := list(filter(holds_us, places)):
        os.environ[PATH] = os.pathsep.join(ours)


def strangers_last(path: list[str], strange: list[str]) -> list[str]:
    """Return an import path on which strange places come last, so that they hide no package that we need."""
    late = [place for place in path if place in strange and not holds_us(place)]
    return [place for place in path if place not in late] + late


def holds_us(place: str) -> bool:
    return (Path(place) / "dlcompare" / "core").is_dir()
