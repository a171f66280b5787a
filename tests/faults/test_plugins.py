"""Plug-ins that hang or end the program: named in time, others work, and whoever waits can leave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from running import PLUGINS

ENDLESS = "import os, pathlib, time\npathlib.Path('begun').write_text(str(os.getpid()))\ntime.sleep(600)"


def listing(folder: Path, *names: str) -> subprocess.Popen[str]:
    """Start ``dlcompare list`` with plug-ins of a folder and of the tests."""
    variables = {"PYTHONPATH": os.pathsep.join([str(folder), str(PLUGINS)]), "DLCOMPARE_PLUGINS": ",".join(names)}
    return subprocess.Popen([sys.executable, "-m", "dlcompare.core", "list"], cwd=folder, text=True,
                            env={**os.environ, **variables, "COLUMNS": "400"},
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_plugins_that_end_the_program_are_named_and_others_listed(tmp_path: Path) -> None:
    for name, code in [("gone", "import os; os._exit(0)"), ("stop", "raise KeyboardInterrupt")]:
        (tmp_path / f"{name}.py").write_text(code)
    printed, told = listing(tmp_path, "gone", "stop", "tiny").communicate(timeout=30)
    good, bad = printed.split("Plugins that could not be loaded")
    assert "tiny-numpy" in good and "pytorch-ddp" in good
    assert told.count("\n") == 1 and told.startswith("dlcompare: the plug-in gone is left out: loading it in a process")
    assert "gone" in bad and "ended it with exit code 0" in bad and "KeyboardInterrupt" in bad


def test_ctrl_c_ends_the_wait_for_a_plugin_that_hangs(tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text(ENDLESS)
    process = listing(tmp_path, "endless")
    deadline = time.monotonic() + 20
    while not (tmp_path / "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=5)
    assert process.returncode == 130 and "Traceback" not in told
    assert not Path("/proc", (tmp_path / "begun").read_text()).exists()
