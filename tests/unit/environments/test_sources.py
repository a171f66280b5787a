"""A view shows dlcompare to another interpreter however it is installed, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import dlcompare.core
from dlcompare.core.environments.sources import link_sources, linked_sources
from dlcompare.core.errors import PluginError

ROOT = Path(dlcompare.core.__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLCOMPARE_CACHE", str(tmp_path / "cache"))


def isolated(folder: Path, code: str) -> str:
    """Run code in the base interpreter without any site-packages but what is in ``folder``."""
    argv = [str(Path(sys.base_prefix, "bin", "python3")), "-S", "-c", code]
    variables = {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(argv, capture_output=True, text=True, check=True, env=variables).stdout.strip()


def test_isolated_interpreter_sees_dlcompare_and_not_its_site_packages() -> None:
    code = "import importlib.util as u; print(u.find_spec('dlcompare.models').origin, u.find_spec('numpy'))"
    assert isolated(linked_sources(), code) == f"{linked_sources()}/dlcompare/models/__init__.py None"


def test_links_lead_to_the_real_folders() -> None:
    links = {link.name: link.resolve() for link in (linked_sources() / "dlcompare").iterdir()}
    assert {"core", "frameworks", "models"} <= set(links)
    assert links == {name: ROOT / name for name in links}


def test_view_from_within_a_view_is_the_same(tmp_path: Path) -> None:
    code = "from dlcompare.core.environments.sources import linked_sources; print(linked_sources())"
    variables = {**os.environ, "PYTHONPATH": str(link_sources(tmp_path / "outer"))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=variables)
    assert Path(done.stdout.strip()) == linked_sources()


def test_copied_package_is_shown_where_it_is(tmp_path: Path) -> None:
    """A plain install puts the folders into site-packages/dlcompare."""
    site = tmp_path / "site-packages"
    for name in ("core", "models"):
        shutil.copytree(ROOT / name, site / "dlcompare" / name, ignore=shutil.ignore_patterns("__pycache__"))
    argv = [sys.executable, "-m", "dlcompare.core.environments.sources", str(tmp_path / "view")]
    # -m looks into PYTHONPATH before it looks into what .pth files and editable installs add
    subprocess.run(argv, check=True, capture_output=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(site)})
    assert (tmp_path / "view" / "dlcompare" / "core").resolve() == (site / "dlcompare" / "core").resolve()


def test_link_view_repairs_what_has_moved_and_keeps_what_has_not(tmp_path: Path) -> None:
    folder = link_sources(tmp_path / "view")
    core, models = folder / "dlcompare" / "core", folder / "dlcompare" / "models"
    kept = models.lstat().st_ino
    core.unlink()
    core.symlink_to(tmp_path)
    assert link_sources(folder) == folder
    assert core.resolve() == ROOT / "core"
    assert models.lstat().st_ino == kept
    assert not list(folder.rglob(".*"))


def test_views_made_at_once_are_whole(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: link_sources(tmp_path / "view"), range(50)))
    assert set(folders) == {tmp_path / "view"}
    assert sorted(path.name for path in (tmp_path / "view" / "dlcompare").iterdir())[0] == "core"
    assert all(path.is_symlink() for path in (tmp_path / "view" / "dlcompare").iterdir())


def test_link_that_moves_is_never_missing(tmp_path: Path) -> None:
    places = [tmp_path / name / "plugin" for name in ("old", "new")]
    for place in places:
        place.mkdir(parents=True)
    folder = link_sources(tmp_path / "view", (places[0],))
    with ThreadPoolExecutor(1) as pool:
        moves = pool.submit(lambda: [link_sources(folder, (places[turn % 2],)) for turn in range(300)])
        while not moves.done():
            assert (folder / "plugin").is_dir()
    assert len(moves.result()) == 300


def test_plugins_are_shown_beside_dlcompare(tmp_path: Path) -> None:
    (tmp_path / "a_package").mkdir()
    (tmp_path / "a_package" / "__init__.py").write_text("word = 'package'")
    (tmp_path / "a_module.py").write_text("word = 'module'")
    extra = (tmp_path / "a_package", tmp_path / "a_module.py")
    program = "import a_package, a_module; print(a_package.word, a_module.word)"
    assert isolated(linked_sources(extra), program) == "package module"
    assert linked_sources(extra) != linked_sources()


def test_plugins_that_clash_or_are_gone_are_errors(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "same").mkdir(parents=True)
    with pytest.raises(PluginError, match=r"two packages are named same: .*two/same and .*one/same"):
        linked_sources((tmp_path / "one" / "same", tmp_path / "two" / "same"))
    with pytest.raises(PluginError, match="two packages are named dlcompare"):
        linked_sources((tmp_path / "dlcompare",))
    with pytest.raises(PluginError, match="is not where it was found"):
        linked_sources((tmp_path / "gone",))
