"""``dlcompare env``: one plugin's trouble is told in its own row and keeps nobody from reading the others'."""

from __future__ import annotations

from pathlib import Path

import lockless
import pytest

from dlcompare.core.environments.store import requirements
from dlcompare.core.errors import PluginError
from dlcompare.core.plugins.registry import Plugins
from dlcompare.core.reports import environments

RAISED = "unaskable raised KeyError: 'cpu' when asked for its environment on cpu; tell the plugin's author"
WHY = f"the lock file {lockless.LOCK} cannot be read: No such file or directory"


@pytest.fixture(autouse=True)
def _two_plugins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = Plugins(("unaskable", "lockless", "dlcompare.frameworks.jax"))
    monkeypatch.setattr(environments, "plugins", lambda: found)
    monkeypatch.setenv("DLCOMPARE_CACHE", str(tmp_path))


def test_a_missing_lock_file_is_told_in_its_plugins_row() -> None:
    _, raised, broken, *others = environments.render_list().splitlines()
    assert raised.split()[:3] == ["unaskable", "cpu", "unavailable"] and raised.endswith(RAISED)
    assert broken.split()[:3] == ["lockless", "cpu", "unavailable"] and WHY in broken
    assert [line.split()[0] for line in others][:2] == ["jax", "jax"]


@pytest.mark.parametrize(("framework", "last"), [(None, "jax-local"), ("lockless", "lockless")])
def test_the_doctor_finds_a_missing_lock_file_and_goes_on(framework: str | None, last: str) -> None:
    text, healthy = environments.render_checks(framework, "cpu")
    assert f"lockless on cpu\n  NO  lock file    {WHY}" in text and not healthy
    assert [line for line in text.splitlines() if line.endswith(" on cpu")][-1] == f"{last} on cpu"
    assert (f"  NO  plugin       {RAISED}" in text) == (framework is None)


def test_a_lock_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "binary.lock").write_bytes(b"\xff\xfe")
    with pytest.raises(PluginError, match=r"binary\.lock cannot be read: .*reinstall the plugin"):
        requirements(tmp_path / "binary.lock")
