"""An environment that is there and broken is found, said with the remedy, and made anew; a killed pip is named."""

from __future__ import annotations

import re
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from tinyenv import compiling, furnish, led, tiny, traces

from dlcompare.core.environments import health, resolve
from dlcompare.core.environments.build import Maker, explain
from dlcompare.core.errors import EnvironmentUnavailable
from dlcompare.core.plugins.runtime import EnvironmentSpec

REMEDY = "make it anew: dlcompare env repair ill"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory):
    furnish(folder := tmp_path_factory.mktemp("home"))
    yield from led(folder)


@pytest.fixture
def spec(home: Path) -> EnvironmentSpec:
    return tiny(home)


@pytest.fixture
def ill(spec: EnvironmentSpec) -> Path:
    """The interpreter of an environment that has lost its framework."""
    python = resolve.create("ill", "cpu", spec, lambda line: None)
    (module,) = python.parents[1].glob("lib/*/site-packages/tiny.py")
    module.unlink()
    return python


def make(how: object, spec: EnvironmentSpec) -> object:
    return resolve.create_all([("ill", "cpu", spec)], lambda line: None, how)["ill", "cpu"]  # type: ignore[arg-type]


def test_a_broken_environment_is_not_called_well_and_is_made_anew(ill: Path, spec: EnvironmentSpec, home: Path) -> None:
    said = make(health.create_checked, spec)
    assert isinstance(said, EnvironmentUnavailable)
    assert "ModuleNotFoundError: No module named 'tiny'" in str(said) and REMEDY in str(said)
    bad = {finding.what: finding.detail for finding in health.doctor("ill", "cpu", spec) if not finding.ok}
    assert set(bad) == {"framework"} and REMEDY in bad["framework"]
    assert make(health.repair, spec) == ill  # the same link
    assert health.broken("ill", "cpu", spec) is None
    assert make(health.create_checked, spec) == ill
    assert len(traces(home, "ill")) == 2  # the link and what it leads to: the broken one has gone


def test_one_that_works_is_left_alone(spec: EnvironmentSpec, home: Path) -> None:
    python = resolve.create("well", "cpu", spec, lambda line: None)
    before = traces(home, "well")
    assert health.repair("well", "cpu", spec, pytest.fail, stop=threading.Event()) == python
    assert traces(home, "well") == before


def test_one_whose_python_is_gone_is_broken_and_one_that_is_absent_is_not(ill: Path, spec: EnvironmentSpec) -> None:
    ill.unlink()
    ill.symlink_to("/no/such/python")
    assert "the Python that it was made with is gone" in str(health.broken("ill", "cpu", spec))
    bad = {finding.what: finding.detail for finding in health.doctor("ill", "cpu", spec) if not finding.ok}
    assert REMEDY in bad["environment"]
    assert health.broken("absent", "cpu", spec) is None
    resolve.remove("ill", "cpu")


@pytest.mark.parametrize(("reason", "blamed"), [("ModuleNotFoundError: No module named 'tiny'", True),
                                                 ("training diverged", False)])
def test_a_failed_job_blames_its_environment_only_if_that_is_broken(ill: Path, spec: EnvironmentSpec, reason: str,
                                                                     blamed: bool) -> None:
    said = health.blamed(reason, "ill", "cpu", spec)
    assert (REMEDY in said) == blamed and said.startswith(reason)
    make(health.repair, spec)
    assert health.blamed(reason, "ill", "cpu", spec) == reason
    assert health.blamed(reason, "ill", "cpu", None) == reason


KILL = "import os, signal; print('WARNING: something unrelated'); os.kill(os.getpid(), signal.SIGKILL)"


def test_a_killed_pip_is_named_with_the_next_step(tmp_path: Path) -> None:
    maker = Maker(tmp_path, tmp_path / "log", print)
    with pytest.raises(EnvironmentUnavailable, match=r"killed \(SIGKILL\): .*memory.*repeat the command") as said:
        maker.run(sys.executable, "-c", KILL)
    assert "unrelated" not in str(said.value)
    with pytest.raises(EnvironmentUnavailable, match="It failed: no message"):
        maker.run(sys.executable, "-c", "import sys; sys.exit(9)")


@pytest.mark.parametrize("line", ["g++: fatal error: Killed signal terminated program cc1plus",
                                  "virtual memory exhausted: Cannot allocate memory"])
def test_a_killed_compiler_is_named(line: str) -> None:
    assert re.match("The compiler was killed: .*memory", explain(f"x.cc:1: error: a\n{line}\nERROR: Failed building"))


def test_builds_survive_a_repair(spec: EnvironmentSpec, home: Path) -> None:
    built = replace(compiling(spec), owner="")
    python = resolve.create("built", "cpu", built, lambda line: None)
    (module,) = python.parents[1].glob("lib/*/site-packages/compiled.py")
    module.unlink()
    count = (home / "builds").read_text()
    health.repair("built", "cpu", built, lambda line: None, stop=threading.Event())
    assert health.broken("built", "cpu", built) is None
    assert (home / "builds").read_text() == count  # the kept wheel is used
