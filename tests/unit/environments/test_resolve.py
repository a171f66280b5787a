"""Environments are really made here: isolated, atomic, safe for two at once, found again, looked at, chosen."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tinyenv import NOW, compiling, traces

from dlcompare.core.environments import health, resolve
from dlcompare.core.environments.build import wheels
from dlcompare.core.environments.store import requirements, wheel_folder
from dlcompare.core.errors import EnvironmentUnavailable, JobError, PluginError, UsageError
from dlcompare.core.files import cache_root
from dlcompare.core.plugins.backend import Backend, need_ampere
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.plugins.runtime import Build, EnvironmentSpec


def run(python: Path, code: str) -> str:
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


# -- making one


def test_created_environment_is_isolated_and_its_scripts_run(home: Path, spec: EnvironmentSpec, ready: Path) -> None:
    assert run(ready, "import tiny, compiled; print(compiled.flavour)") == "sweet"
    assert run(ready, "import importlib.util as u; print(u.find_spec('numpy'))") == "None"
    assert ready == resolve.locate(compiling(spec), "ready", "cpu")
    link, folder = traces(home, "ready")
    assert (home / "cache" / "envs" / link).resolve().name == folder
    assert subprocess.run([ready.with_name("pip"), "--version"], capture_output=True).returncode == 0


def test_ready_environment_is_found_without_work(spec: EnvironmentSpec, ready: Path) -> None:
    lines: list[str] = []
    assert resolve.create("ready", "cpu", compiling(spec), lines.append) == ready
    assert lines == []


@pytest.mark.slow
def test_wheel_is_compiled_once_for_the_same_variables(home: Path, spec: EnvironmentSpec) -> None:
    (home / "builds").unlink(missing_ok=True)
    bitter, sour = compiling(spec, "bitter"), compiling(spec, "sour")
    lines: list[str] = []
    for _ in range(2):
        made = resolve.create_all([("again", "cpu", bitter)], lines.append)
        assert run(Path(str(made["again", "cpu"])), "import compiled; print(compiled.flavour)") == "bitter"
        assert resolve.remove("again", "cpu") > 1e6
        assert traces(home, "again") == []
    assert (home / "builds").read_text() == "built\n"
    (wheel,) = wheels(wheel_folder(bitter.builds[0], bitter, NOW))
    wheel.write_bytes(wheel.read_bytes()[:-30])
    made = resolve.create_all([("again", "cpu", bitter)], lines.append)
    assert run(Path(str(made["again", "cpu"])), "import compiled; print(compiled.flavour)") == "bitter"
    assert (home / "builds").read_text() == "built\nbuilt\n", "a damaged wheel is compiled again"
    resolve.remove("again", "cpu")
    assert lines.count("again on cpu: compiling compiled==1.0, about 1 min") == 2
    assert wheel_folder(bitter.builds[0], bitter, NOW) != wheel_folder(sour.builds[0], sour, NOW)


CREATE = """
import sys
from pathlib import Path
from dlcompare.core.environments import health, resolve
from dlcompare.core.plugins.runtime import EnvironmentSpec
now = tuple(sys.version_info[:2])
spec = EnvironmentSpec(Path(sys.argv[1]), (now, now), "import tiny; print(tiny.version)")
print(resolve.create(sys.argv[2], "cpu", spec, lambda line: print(line, flush=True)))
"""


def creator(home: Path, name: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", CREATE, str(home / "tiny.lock"), name]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
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


def wait_until(condition: Callable[[], bool], limit: float = 20.0) -> None:
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_command_outlives_its_parent(tmp_path: Path, how: signal.Signals) -> None:
    nap = f"6{how}.{time.time_ns()}"
    log, argv = tmp_path / "log", ["sh", "-c", f"sleep {nap} & wait"]
    code = (
        "import pathlib; from dlcompare.core.environments.build import Maker; "
        f"Maker(None, pathlib.{log!r}, print).run(*{argv})"
    )
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: f"sleep {nap} " in children(nap))
        process.send_signal(how)
    assert process.returncode == -how
    wait_until(lambda: not children(nap))


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


@pytest.mark.slow
def test_next_creation_cleans_up_after_a_killed_one(home: Path, spec: EnvironmentSpec) -> None:
    assert interrupted(home, "killed", signal.SIGKILL) == -signal.SIGKILL
    [leftover] = traces(home, "killed")
    assert resolve.locate(spec, "killed", "cpu") is None
    python = resolve.create("killed", "cpu", spec, lambda line: None)
    assert run(python, "import tiny; print(tiny.version)") == "1.0"
    assert leftover not in traces(home, "killed")


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
    assert resolve.locate(changed, "ready", "cpu") == ready
    changed.lock.write_text("tiny==1.1\n")
    assert resolve.locate(changed, "ready", "cpu") is None
    [*_, finding] = health.doctor("ready", "cpu", changed)
    assert not finding.ok
    assert "has changed since 1 environment(s)" in finding.detail


def test_environment_whose_python_is_gone_is_not_ready(home: Path, spec: EnvironmentSpec, ready: Path) -> None:
    link = ready.parent.parent
    python = (link / "bin" / "python").readlink()
    try:
        (link / "bin" / "python").unlink()
        (link / "bin" / "python").symlink_to("/no/such/python")
        assert resolve.locate(compiling(spec), "ready", "cpu") is None
    finally:
        (link / "bin" / "python").unlink()
        (link / "bin" / "python").symlink_to(python)


def test_status_and_doctor_of_a_ready_environment(spec: EnvironmentSpec, ready: Path) -> None:
    own, none = resolve.status([("ready", "cpu", replace(compiling(spec), note="tiny")), ("inside", "cpu", None)])
    assert (own.state, own.path, own.note) == ("ready", ready.parent.parent, "tiny")
    assert own.size > 1e6
    assert own.python == ".".join(map(str, sys.version_info[:3]))
    assert (none.state, none.path) == ("ready", Path(sys.executable))
    findings = health.doctor("ready", "cpu", compiling(spec))
    assert [finding.what for finding in findings] == ["python", "tools", "environment", "framework", "lock file"]
    assert all(finding.ok for finding in findings), findings
    assert findings[3].detail == "sweet"


def test_doctor_says_what_is_missing(spec: EnvironmentSpec, ready: Path) -> None:
    needy = replace(spec, builds=(Build("compiled==1.0", {}, tools=("no-such-tool",)),))
    bad = {finding.what: finding.detail for finding in health.doctor("none", "cpu", needy) if not finding.ok}
    assert set(bad) == {"tools", "environment"}
    assert "apt-get install no-such-tool" in bad["tools"]
    assert "dlcompare env create" in bad["environment"]
    spoilt = replace(compiling(spec), check="import missing")
    bad = {finding.what: finding.detail for finding in health.doctor("ready", "cpu", spoilt) if not finding.ok}
    assert bad == {"framework": "the environment is broken (ModuleNotFoundError: No module named 'missing'); make it "
                                "anew: dlcompare env repair ready"}


def test_two_backends_share_the_environment_of_one(spec: EnvironmentSpec, ready: Path, home: Path) -> None:
    shared = replace(compiling(spec), owner="ready")
    assert resolve.create("guest", "cpu", shared, lambda line: pytest.fail(line)) == ready
    assert traces(home, "guest") == []
    [status] = resolve.status([("guest", "cpu", shared)])
    assert (status.path, status.note) == (ready.parent.parent, "shared with ready")
    assert resolve.remove("guest", "cpu") == 0 and ready.exists()


def test_variants_of_one_framework_share_its_environment() -> None:
    found = {name: plugins().backend(name).environment("cuda") for name in ("jax-local", "pytorch-dp", "jax")}
    assert {name: spec.owner for name, spec in found.items() if spec} == {
        "jax-local": "jax", "pytorch-dp": "pytorch-ddp", "jax": ""}


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_a_gpu_older_than_ampere_is_named(precision: str) -> None:
    job = Job("pytorch-ddp", "resnet18", device="cuda", precision=precision)
    need_ampere(job, "A100", (8, 0))
    need_ampere(replace(job, precision="fp16"), "V100", (7, 0))
    with pytest.raises(JobError, match=f"V100 has no {precision}.*use --precision fp16 or fp32"):
        need_ampere(job, "V100", (7, 0))


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
    assert resolve.resolve(None, here, "cpu", print) == Path(sys.executable)
    assert resolve.resolve("current", here, "cpu", print) == Path(sys.executable)
    assert resolve.resolve(None, own, "cpu", print) == ready
    assert resolve.resolve(str(ready), own, "cpu", print) == ready
    with pytest.raises(EnvironmentUnavailable, match="cannot run ready: ModuleNotFoundError: No module named 'tiny'"):
        resolve.resolve("current", own, "cpu", print)
    for wrong in (str(tmp_path / "python"), str(tmp_path), "/bin/true"):
        with pytest.raises(UsageError, match=f"--env {wrong}: no Python runs"):
            resolve.resolve(wrong, own, "cpu", print)


def test_default_cache_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DLCOMPARE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_root() == Path("/somewhere/dlcompare")
