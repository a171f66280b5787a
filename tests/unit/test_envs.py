"""Environments are really made here, from tiny packages that the tests write, with pip cut off from any index."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dlcompare.core import envs
from dlcompare.core.backend import Backend, Build, EnvironmentSpec
from dlcompare.core.envbuild import Maker, explain
from dlcompare.core.envstore import requirements, wheel_folder
from dlcompare.core.errors import EnvironmentUnavailable, PluginError, UsageError

NOW = (sys.version_info[0], sys.version_info[1])

# A build backend of its own needs no setuptools; what it makes holds the variable, and every build is counted.
BUILD_BACKEND = """
import os, pathlib, zipfile
def build_wheel(folder, config=None, metadata=None):
    with open(os.environ["BUILDS"], "a") as builds:
        builds.write("built\\n")
    with open(os.environ.get("WRITES", os.devnull), "w") as file:
        file.write("x" * 100000)
    name = "compiled-1.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder) / name, "w") as wheel:
        wheel.writestr("compiled.py", f"flavour = {os.environ['FLAVOUR']!r}")
        wheel.writestr("compiled-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: compiled\\nVersion: 1.0\\n")
        wheel.writestr("compiled-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr("compiled-1.0.dist-info/RECORD", "")
    return name
"""
PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
METADATA = "Metadata-Version: 2.1\nName: {}\nVersion: 1.0\n"


def write_wheel(folder: Path, name: str) -> None:
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", "version = '1.0'")
        wheel.writestr(f"{name}-1.0.dist-info/METADATA", METADATA.format(name))
        wheel.writestr(f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{name}-1.0.dist-info/RECORD", "")


def write_sdist(folder: Path, name: str) -> None:
    files = {"pyproject.toml": PYPROJECT, "backend.py": BUILD_BACKEND, "PKG-INFO": METADATA.format(name)}
    with tarfile.open(folder / f"{name}-1.0.tar.gz", "w:gz") as archive:
        for file, text in files.items():
            info = tarfile.TarInfo(f"{name}-1.0/{file}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder of the module's own, and the packages that pip can find."""
    home = tmp_path_factory.mktemp("home")
    (home / "packages").mkdir()
    write_wheel(home / "packages", "tiny")
    write_sdist(home / "packages", "compiled")
    (home / "tiny.lock").write_text("# what the tiny framework needs\n\ntiny==1.0\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DLCOMPARE_CACHE", str(home / "cache"))
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(home / "packages"))
        patch.setenv("PIP_CONFIG_FILE", os.devnull)
        patch.setenv("BUILDS", str(home / "builds"))
        patch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
        yield home


@pytest.fixture
def spec(home: Path) -> EnvironmentSpec:
    return EnvironmentSpec(home / "tiny.lock", (NOW, NOW), "import tiny; print(tiny.version)")


def compiling(spec: EnvironmentSpec, flavour: str = "sweet") -> EnvironmentSpec:
    build = Build("compiled==1.0", {"FLAVOUR": flavour}, tools=("env",))
    return replace(spec, check="import tiny, compiled; print(compiled.flavour)", builds=(build,))


@pytest.fixture(scope="module")
def ready(home: Path) -> Path:
    """The interpreter of a ready environment with a compiled package."""
    spec = EnvironmentSpec(home / "tiny.lock", (NOW, NOW), "import tiny; print(tiny.version)")
    return envs.create("ready", "cpu", compiling(spec), lambda line: None)


def traces(home: Path, name: str) -> list[str]:
    """What the cache holds of a backend's environments, finished or not."""
    return sorted(path.name for path in (home / "cache" / "envs").glob(f"{name}-*"))


def run(python: Path, code: str) -> str:
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


# -- making one


def test_created_environment_is_isolated_and_its_scripts_run(home: Path, spec: EnvironmentSpec, ready: Path) -> None:
    assert run(ready, "import tiny, compiled; print(compiled.flavour)") == "sweet"
    assert run(ready, "import importlib.util as u; print(u.find_spec('numpy'))") == "None"
    assert ready == envs.locate(compiling(spec), "ready", "cpu")
    link, folder = traces(home, "ready")
    assert (home / "cache" / "envs" / link).resolve().name == folder
    assert subprocess.run([ready.with_name("pip"), "--version"], capture_output=True).returncode == 0


def test_ready_environment_is_found_without_work(spec: EnvironmentSpec, ready: Path) -> None:
    lines: list[str] = []
    assert envs.create("ready", "cpu", compiling(spec), lines.append) == ready
    assert lines == []


def test_wheel_is_compiled_once_for_the_same_variables(home: Path, spec: EnvironmentSpec) -> None:
    (home / "builds").unlink(missing_ok=True)
    bitter, sour = compiling(spec, "bitter"), compiling(spec, "sour")
    lines: list[str] = []
    for _ in range(2):
        made = envs.create_all([("again", "cpu", bitter)], lines.append)
        assert run(Path(str(made["again", "cpu"])), "import compiled; print(compiled.flavour)") == "bitter"
        assert envs.remove("again", "cpu") > 1e6
        assert traces(home, "again") == []
    assert (home / "builds").read_text() == "built\n"
    assert lines.count("again on cpu: compiling compiled==1.0, about 1 min") == 1
    assert wheel_folder(bitter.builds[0], bitter, NOW) != wheel_folder(sour.builds[0], sour, NOW)


CREATE = """
import sys
from pathlib import Path
from dlcompare.core import envs
from dlcompare.core.backend import EnvironmentSpec
now = tuple(sys.version_info[:2])
spec = EnvironmentSpec(Path(sys.argv[1]), (now, now), "import tiny; print(tiny.version)")
print(envs.create(sys.argv[2], "cpu", spec, lambda line: print(line, flush=True)))
"""


def creator(home: Path, name: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", CREATE, str(home / "tiny.lock"), name]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_at_once_make_one_environment(home: Path) -> None:
    told = [process.communicate(timeout=60) for process in [creator(home, "shared"), creator(home, "shared")]]
    outputs = [out for out, _ in told]
    assert all(err == "" for _, err in told)
    assert sum("installing" in out for out in outputs) == 1
    assert sum("waiting for another run" in out for out in outputs) == 1
    assert len({out.splitlines()[-1] for out in outputs}) == 1
    assert len(traces(home, "shared")) == 2  # the link and the folder


def children(group: str) -> list[str]:
    """Return the command lines of processes that mention ``group``."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_text().replace("\0", " "))
        except OSError:  # it has ended meanwhile
            continue
    return [line for line in found if group in line]


def wait_until(condition: object, limit: float = 20.0) -> None:
    end = time.monotonic() + limit
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def interrupted(home: Path, name: str, how: signal.Signals) -> int:
    """Return the exit code of a creator that got a signal while it was installing; its children are gone."""
    with creator(home, name) as process:
        wait_until(lambda: any((home / "cache" / "envs").glob(f"{name}-*.*/bin/python")))
        process.send_signal(how)
        process.communicate(timeout=20)
    wait_until(lambda: not children(f"{name}-cpu"))
    return process.returncode


def test_interrupt_leaves_nothing(home: Path) -> None:
    assert interrupted(home, "stopped", signal.SIGINT) == -signal.SIGINT
    assert traces(home, "stopped") == []


def test_next_creation_cleans_up_after_a_killed_one(home: Path, spec: EnvironmentSpec) -> None:
    assert interrupted(home, "killed", signal.SIGKILL) == -signal.SIGKILL
    [leftover] = traces(home, "killed")
    assert envs.locate(spec, "killed", "cpu") is None
    python = envs.create("killed", "cpu", spec, lambda line: None)
    assert run(python, "import tiny; print(tiny.version)") == "1.0"
    assert leftover not in traces(home, "killed")


def test_failed_check_leaves_neither_environment_nor_wheel(home: Path, spec: EnvironmentSpec) -> None:
    broken = replace(compiling(spec, "rotten"), check="import compiled; assert compiled.flavour != 'rotten', 'yuck'")
    before = set((home / "cache" / "wheels").glob("*"))
    with pytest.raises(EnvironmentUnavailable, match=r"broken on cpu: all is installed, but .*AssertionError: yuck"):
        envs.create("broken", "cpu", broken, lambda line: None)
    assert traces(home, "broken") == []
    assert set((home / "cache" / "wheels").glob("*")) == before


# -- why there is none, and what to do about it


def unavailable(spec: EnvironmentSpec) -> str:
    with pytest.raises(EnvironmentUnavailable) as caught:
        envs.create("none", "cpu", spec, lambda line: None)
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
    [row] = envs.status([("none", "cpu", needy)])
    assert row.state == "unavailable"
    assert "apt-get install" in row.why
    [row] = envs.status([("later", "cpu", compiling(spec))])  # compiled for `ready`, same lock and variables
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
    assert envs.find_python(spec) == (str(tmp_path / "real" / name), NOW)
    monkeypatch.setenv("PATH", str(tmp_path / "shims"))
    with pytest.raises(EnvironmentUnavailable, match="was found; install one"):
        envs.find_python(spec)


def test_python_without_ensurepip(spec: EnvironmentSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's python3 without python3-venv: it runs, and has no ensurepip."""
    script = tmp_path / f"python{NOW[0]}.{NOW[1]}"
    hide = "import sys; sys.modules['ensurepip'] = None; exec(sys.argv[1])"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{hide}" "${{@: -1}}"\n'.replace("/bin/sh", "/bin/bash"))
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EnvironmentUnavailable, match=r"apt-get install python3\.\d+-venv"):
        envs.find_python(spec)


def test_cache_that_cannot_be_written(spec: EnvironmentSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in place of a folder")
    monkeypatch.setenv("DLCOMPARE_CACHE", str(tmp_path / "file"))
    message = unavailable(spec)
    assert f"cannot write the cache folder ({tmp_path / 'file'}" in message
    assert "set DLCOMPARE_CACHE to a folder that you can write" in message
    assert envs.status([("none", "cpu", spec)])[0].state == "absent"  # looking needs no writing


def test_one_failure_does_not_spoil_the_others(spec: EnvironmentSpec, ready: Path) -> None:
    made = envs.create_all(
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


# -- lock files, looking, choosing


@pytest.mark.parametrize("line", ["numpy", "numpy>=1.0", "-r other.lock", "numpy==1.*", "https://example.org/a.whl"])
def test_lock_line_that_pins_nothing_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.lock").write_text(f"tiny==1.0\n{line}\n")
    with pytest.raises(PluginError, match="pins no version in the line"):
        requirements(tmp_path / "a.lock")


def test_lock_lines(tmp_path: Path) -> None:
    lines = ["a==1.0", "b-c[x,y]==2.0+cpu", "d===3.0", 'e==1!4.0rc1 ; python_version < "3.11"']
    (tmp_path / "a.lock").write_text("# head\n\n" + "\n".join(f"{line}  # why" for line in lines))
    assert requirements(tmp_path / "a.lock") == lines
    with pytest.raises(PluginError, match="cannot be read"):
        requirements(tmp_path / "b.lock")


def test_changed_lock_is_another_environment_and_a_changed_comment_is_not(
    home: Path, spec: EnvironmentSpec, ready: Path
) -> None:
    changed = replace(compiling(spec), lock=home / "changed.lock")
    changed.lock.write_text("# another comment\ntiny==1.0\n")
    assert envs.locate(changed, "ready", "cpu") == ready
    changed.lock.write_text("tiny==1.1\n")
    assert envs.locate(changed, "ready", "cpu") is None
    [*_, finding] = envs.doctor("ready", "cpu", changed)
    assert not finding.ok
    assert "has changed since 1 environment(s)" in finding.detail


def test_environment_whose_python_is_gone_is_not_ready(home: Path, spec: EnvironmentSpec, ready: Path) -> None:
    link = ready.parent.parent
    python = (link / "bin" / "python").readlink()
    try:
        (link / "bin" / "python").unlink()
        (link / "bin" / "python").symlink_to("/no/such/python")
        assert envs.locate(compiling(spec), "ready", "cpu") is None
    finally:
        (link / "bin" / "python").unlink()
        (link / "bin" / "python").symlink_to(python)


def test_status_and_doctor_of_a_ready_environment(spec: EnvironmentSpec, ready: Path) -> None:
    own, none = envs.status([("ready", "cpu", replace(compiling(spec), note="tiny")), ("inside", "cpu", None)])
    assert (own.state, own.path, own.note) == ("ready", ready.parent.parent, "tiny")
    assert own.size > 1e6
    assert own.python == ".".join(map(str, sys.version_info[:3]))
    assert (none.state, none.path) == ("ready", Path(sys.executable))
    findings = envs.doctor("ready", "cpu", compiling(spec))
    assert [finding.what for finding in findings] == ["python", "tools", "environment", "framework", "lock file"]
    assert all(finding.ok for finding in findings), findings
    assert findings[3].detail == "sweet"


def test_doctor_says_what_is_missing(spec: EnvironmentSpec, ready: Path) -> None:
    needy = replace(spec, builds=(Build("compiled==1.0", {}, tools=("no-such-tool",)),))
    bad = {finding.what: finding.detail for finding in envs.doctor("none", "cpu", needy) if not finding.ok}
    assert set(bad) == {"tools", "environment"}
    assert "apt-get install no-such-tool" in bad["tools"]
    assert "dlcompare env create" in bad["environment"]
    spoilt = replace(compiling(spec), check="import missing")
    bad = {finding.what: finding.detail for finding in envs.doctor("ready", "cpu", spoilt) if not finding.ok}
    assert bad == {"framework": "ModuleNotFoundError: No module named 'missing'"}


class Tiny(Backend):
    name = "ready"

    def __init__(self, spec: EnvironmentSpec | None) -> None:
        self.spec = spec

    def environment(self, device: str) -> EnvironmentSpec | None:
        return self.spec

    def trainer(self, graph: object, params: object, job: object) -> object:  # type: ignore[override]
        raise NotImplementedError


def test_choosing_an_interpreter(spec: EnvironmentSpec, ready: Path, tmp_path: Path) -> None:
    here, own = Tiny(None), Tiny(compiling(spec))
    assert envs.resolve(None, here, "cpu", print) == Path(sys.executable)
    assert envs.resolve("current", here, "cpu", print) == Path(sys.executable)
    assert envs.resolve(None, own, "cpu", print) == ready
    assert envs.resolve(str(ready), own, "cpu", print) == ready
    with pytest.raises(EnvironmentUnavailable, match="cannot run ready: ModuleNotFoundError: No module named 'tiny'"):
        envs.resolve("current", own, "cpu", print)
    for wrong in (str(tmp_path / "python"), str(tmp_path), "/bin/true"):
        with pytest.raises(UsageError, match=f"--env {wrong}: no Python runs"):
            envs.resolve(wrong, own, "cpu", print)


def test_default_cache_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DLCOMPARE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert envs.cache_root() == Path("/somewhere/dlcompare")
