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


@pytest.fixture(scope="module")
def spec(home: Path) -> EnvironmentSpec:
    return tiny(home)


@pytest.fixture(scope="module")
def python(spec: EnvironmentSpec) -> Path:
    """The interpreter of an environment that tests break."""
    return resolve.create("ill", "cpu", spec, lambda line: None)


def lose(python: Path, module: str) -> None:
    (file,) = python.parents[1].glob(f"lib/*/site-packages/{module}.py")
    file.unlink()


def make(how: object, spec: EnvironmentSpec) -> object:
    return resolve.create_all([("ill", "cpu", spec)], lambda line: None, how)["ill", "cpu"]  # type: ignore[arg-type]


def bad(spec: EnvironmentSpec) -> dict[str, str]:
    """Return what the doctor finds wrong."""
    return {finding.what: finding.detail for finding in health.doctor("ill", "cpu", spec) if not finding.ok}


@pytest.mark.slow
def test_a_broken_environment_is_not_called_well_and_is_made_anew(python: Path, spec: EnvironmentSpec,
                                                                  home: Path) -> None:
    reason = "ModuleNotFoundError: No module named 'tiny'"
    assert make(health.create_checked, spec) == python
    assert health.blamed(reason, "ill", "cpu", spec) == reason  # the job's own fault
    lose(python, "tiny")
    said = make(health.create_checked, spec)
    assert isinstance(said, EnvironmentUnavailable) and reason in str(said) and REMEDY in str(said)
    assert set(bad(spec)) == {"framework"} and REMEDY in bad(spec)["framework"]
    assert REMEDY in health.blamed(reason, "ill", "cpu", spec)
    assert health.blamed("training diverged", "ill", "cpu", spec) == "training diverged"
    assert make(health.repair, spec) == python  # the same link
    assert health.broken("ill", "cpu", spec) is None
    found = traces(home, "ill")
    assert len(found) == 2  # the link and what it leads to: the broken one has gone
    assert make(health.repair, spec) == python and traces(home, "ill") == found  # one that works is left alone


def test_one_whose_python_is_gone_is_broken_and_one_that_is_absent_is_not(python: Path, spec: EnvironmentSpec) -> None:
    place = python.readlink()
    python.unlink()
    python.symlink_to("/no/such/python")
    try:
        assert "the Python that it was made with is gone" in str(health.broken("ill", "cpu", spec))
        assert REMEDY in bad(spec)["environment"]
    finally:
        python.unlink()
        python.symlink_to(place)
    assert health.broken("absent", "cpu", spec) is None


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


@pytest.mark.slow
def test_builds_survive_a_repair(spec: EnvironmentSpec, home: Path) -> None:
    built = replace(compiling(spec), owner="")
    python = resolve.create("built", "cpu", built, lambda line: None)
    lose(python, "compiled")
    count = (home / "builds").read_text()
    health.repair("built", "cpu", built, lambda line: None, stop=threading.Event())
    assert health.broken("built", "cpu", built) is None
    assert (home / "builds").read_text() == count  # the kept wheel is used
