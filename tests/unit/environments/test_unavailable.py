"""An environment that cannot be had says why, and what to install."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tinyenv import NOW, compiling, traces

from dlcompare.core.environments import resolve
from dlcompare.core.environments.build import Maker, explain
from dlcompare.core.environments.interpreters import find_python
from dlcompare.core.errors import EnvironmentUnavailable
from dlcompare.core.plugins.runtime import Build, EnvironmentSpec


def unavailable(spec: EnvironmentSpec) -> str:
    with pytest.raises(EnvironmentUnavailable) as caught:
        resolve.create("none", "cpu", spec, lambda line: None)
    return str(caught.value)


def test_package_that_does_not_exist(home: Path, ready: Path) -> None:
    with pytest.raises(EnvironmentUnavailable, match=r"pip finds no absent==9\.9") as caught:
        Maker(ready.parent.parent, home / "log", print).install("absent==9.9")
    log = Path(str(caught.value).rpartition(" ")[2])
    assert "No matching distribution" in log.read_text()


def test_no_network(home: Path, ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")  # without retries pip does not say that it found no network
    monkeypatch.delenv("PIP_NO_INDEX")
    with pytest.raises(EnvironmentUnavailable, match="No network: pip cannot reach its package index"):
        Maker(ready.parent.parent, home / "log", print).install("absent==9.9")


def test_full_disk(home: Path, ready: Path, tmp_path: Path) -> None:
    variables = {"FLAVOUR": "any", "WRITES": "/dev/full"}
    with pytest.raises(EnvironmentUnavailable, match="The disk is full: free some space"):
        Maker(ready.parent.parent, home / "log", print).compile(Build("compiled==1.0", variables), tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_missing_tools_are_named_unless_the_wheel_is_there(
    spec: EnvironmentSpec, ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    needy = replace(spec, builds=(Build("compiled==1.0", {}, tools=("g++", "cmake")),))
    message = unavailable(needy)
    assert "compiled==1.0 must be compiled, and g++ and cmake cannot be found on PATH" in message
    assert "apt-get install g++ cmake" in message
    [row] = resolve.status([("none", "cpu", needy)])
    assert row.state == "unavailable"
    assert "apt-get install" in row.why
    [row] = resolve.status([("later", "cpu", compiling(spec))])  # compiled for `ready`, same lock and variables
    assert row.state == "absent"


def test_no_python_in_range(spec: EnvironmentSpec) -> None:
    assert "no Python 3.40 to 3.41 was found; install one" in unavailable(replace(spec, python=((3, 40), (3, 41))))


def test_shim_that_does_not_run_is_passed_over(
    spec: EnvironmentSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"python{NOW[0]}.{NOW[1]}"
    for folder in ("shims", "real", "neither"):
        (tmp_path / folder).mkdir()
    (tmp_path / "shims" / name).write_text("#!/bin/sh\necho command not found >&2; exit 127\n")
    (tmp_path / "shims" / name).chmod(0o755)
    (tmp_path / "real" / name).symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", "")
    monkeypatch.setenv("PATH", f"{tmp_path / 'shims'}:{tmp_path / 'real'}")
    assert find_python(spec) == (str(tmp_path / "real" / name), NOW)
    monkeypatch.setenv("PATH", str(tmp_path / "shims"))
    with pytest.raises(EnvironmentUnavailable, match="was found; install one"):
        find_python(spec)


def test_python_without_ensurepip(spec: EnvironmentSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's python3 without python3-venv: it runs, and has no ensurepip."""
    script = tmp_path / f"python{NOW[0]}.{NOW[1]}"
    hide = "import sys; sys.modules['ensurepip'] = None; exec(sys.argv[1])"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{hide}" "${{@: -1}}"\n'.replace("/bin/sh", "/bin/bash"))
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EnvironmentUnavailable, match=r"apt-get install python3\.\d+-venv"):
        find_python(spec)


def test_cache_that_cannot_be_written(spec: EnvironmentSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in place of a folder")
    monkeypatch.setenv("DLCOMPARE_CACHE", str(tmp_path / "file"))
    message = unavailable(spec)
    assert f"cannot write the cache folder ({tmp_path / 'file'}" in message
    assert "set DLCOMPARE_CACHE to a folder that you can write" in message
    assert resolve.status([("none", "cpu", spec)])[0].state == "absent"  # looking needs no writing


def test_one_failure_does_not_spoil_the_others(spec: EnvironmentSpec, ready: Path) -> None:
    made = resolve.create_all(
        [("ready", "cpu", compiling(spec)), ("old", "cpu", replace(spec, python=((3, 1), (3, 1))))], lambda line: None
    )
    assert made["ready", "cpu"] == ready
    assert isinstance(made["old", "cpu"], EnvironmentUnavailable)


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("a.cc:3:1: fatal error: t.h: No such file\nerror: command failed\nERROR: Failed to build", "fatal error: t.h"),
        ("WARNING: Connection reset, retrying\n" + "working\n" * 1000 + "ERROR: Cannot install a and b", "install a"),
        ("", "no message"),
    ],
)
def test_explanation_picks_the_telling_line(output: str, told: str) -> None:
    assert told in explain(output)


@pytest.mark.slow
def test_failed_check_leaves_neither_environment_nor_wheel(home: Path, spec: EnvironmentSpec) -> None:
    broken = replace(compiling(spec, "rotten"), check="import compiled; assert compiled.flavour != 'rotten', 'yuck'")
    before = set((home / "cache" / "wheels").glob("*"))
    with pytest.raises(EnvironmentUnavailable, match=r"broken on cpu: all is installed, but .*AssertionError: yuck"):
        resolve.create("broken", "cpu", broken, lambda line: None)
    assert traces(home, "broken") == []
    assert set((home / "cache" / "wheels").glob("*")) == before
