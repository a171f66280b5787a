"""Plug-ins that hang or end the program when they are loaded are named, and the others load."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dlcompare.core.plugins import trial

Write = Callable[..., list[str]]
BAD = {
    "leaves_at_once": ("import os; os._exit(0)", "loading it in a process of its own ended it with exit code 0"),
    "crashes": ("import ctypes; ctypes.string_at(0)", "killed it (Segmentation fault)"),
    "interrupts": ("raise KeyboardInterrupt", "KeyboardInterrupt:"),
    "raises_the_base": ("raise BaseException('on\\npurpose')", "BaseException: on purpose"),
    "keeps_a_thread": ("import threading, time\n"
                       "threading.Thread(target=time.sleep, args=(600,), name='pacemaker').start()",
                       "leaves the thread 'pacemaker' at work"),
    "sleeps": ("import time\n\ntime.sleep(600)", "sleeps.py, line 3); what takes long belongs"),
    "loops": ("def turn():\n    while True: pass\nturn()", "stands in turn ("),
    "asked_in_vain": ("from dlcompare.core import hookimpl\n@hookimpl\ndef dlcompare_models():\n    import time\n"
                      "    time.sleep(600)", "asked_in_vain.py, line 5)"),
}
POOL = "from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor()\npool.submit(int).result()"
GOOD = "import subprocess; print('{\"noise\": 1}'); subprocess.Popen(['sleep', '3'])"


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Return what makes modules of code, and returns their names."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(**modules: str) -> list[str]:
        for name, code in modules.items():
            (tmp_path / f"{name}.py").write_text(code)
        return list(modules)

    return write


def test_whatever_a_plugin_does_is_put_down_to_it_alone(written: Write) -> None:
    names = written(good=GOOD, pool=POOL, **{name: code for name, (code, _) in BAD.items()}, last="")
    begin = time.monotonic()
    found = trial.tried(names, seconds=2)
    assert time.monotonic() - begin < 30  # three of them take their two seconds
    assert found.keys() == BAD.keys()
    assert not {name: found[name] for name, (_, told) in BAD.items() if told not in found[name]}


def test_two_hundred_plugins_take_one_process(written: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    plain = trial.in_child
    monkeypatch.setattr(trial, "in_child", lambda names, seconds: started.append(1) or plain(names, seconds))
    assert trial.tried(written(**{f"one_of_many_{number}": "" for number in range(200)})) == {}
    assert len(started) == 1


def test_nobody_is_blamed_for_a_child_that_cannot_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "CHILD", "raise SystemExit(3)")
    assert trial.tried(["anything"]) == {}


def test_nothing_is_started_where_there_are_no_plugins_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(trial, "in_child")
    assert trial.tried([]) == {}
