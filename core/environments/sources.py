"""A folder that shows dlcompare, and nothing else of this interpreter's packages, to another interpreter.

``PYTHONPATH=<view>`` lets a backend's environment import dlcompare without seeing the site-packages it is installed
in, however it was installed. Type checkers and editors, which do not follow an editable install, use one as well:
``python -m dlcompare.core.environments.sources build/view``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import secrets
import sys
from pathlib import Path

from dlcompare.core.errors import PluginError, UsageError
from dlcompare.core.files import cache_root
from dlcompare.core.privacy import check_private

FOLDERS = ("core", "frameworks", "models", "inference")


def linked_sources(extra: tuple[Path, ...] = ()) -> Path:
    """Return a view in the cache folder: dlcompare, and beside it ``extra`` packages (folders) or modules (files)."""
    places = [*_places().values(), *(path.resolve() for path in extra)]
    key = hashlib.sha256("\0".join(map(str, places)).encode()).hexdigest()[:12]
    view = link_sources(cache_root() / "views" / key, extra)
    check_alone(view, {"dlcompare", "__pycache__", *(place.name for place in extra)})
    check_alone(view / "dlcompare", set(FOLDERS))
    for inner in ("dlcompare", "__pycache__"):  # whoever owns these may put something else there at any time
        check_private(view / inner)
    return check_private(view)


def check_alone(folder: Path, ours: set[str]) -> None:
    """Raise UsageError if a folder holds more than ours, for every worker might import it."""
    found = {file.name for file in folder.iterdir() if not file.name.startswith(".")}  # links in the making
    if strange := sorted(found - ours):
        raise UsageError(f"{folder} holds {', '.join(strange)}, not put there by dlcompare, and its workers would "
                         f"import; find out who has, then remove {folder}")


def link_sources(folder: Path, extra: tuple[Path, ...] = ()) -> Path:
    """Make ``folder`` a view and return it; one that is there already is brought up to date.

    Links ``folder/dlcompare/{core,frameworks,models,inference}`` to where they really are, and ``folder/<name>`` to
    each extra package or module. PluginError if two of them have one name or one does not exist.
    """
    wanted = {Path("dlcompare") / name: place for name, place in _places().items()}
    for path in extra:
        if (link := Path(path.name)) in wanted or path.name == "dlcompare":
            raise PluginError(f"two packages are named {path.name}: {path} and {wanted.get(link, 'dlcompare itself')}")
        if not path.exists():
            raise PluginError(f"the package of a plugin is not where it was found: {path}")
        wanted[link] = path.resolve()
    for link, place in wanted.items():
        _link(folder / link, place)
    return folder


def _places() -> dict[str, Path]:
    """Return where the running dlcompare's folders are; one without code has no place."""
    places = {}
    for name in FOLDERS:
        spec = importlib.util.find_spec(f"dlcompare.{name}")
        if spec and spec.submodule_search_locations:
            places[name] = Path(next(iter(spec.submodule_search_locations))).resolve()
    return places


def _link(link: Path, place: Path) -> None:
    """Point a link to a place in one step, so that no other process ever finds it missing."""
    if link.is_symlink() and link.readlink() == place:
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    fresh = link.with_name(f".{link.name}.{secrets.token_hex(4)}")
    fresh.symlink_to(place)
    fresh.replace(link)


if __name__ == "__main__":
    print(link_sources(Path(sys.argv[1] if len(sys.argv) > 1 else "build/view")))
