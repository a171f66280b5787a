"""Plug-ins of others are first loaded in a process of their own: one that hangs or ends it is named, others work.

What an import does cannot be undone or cut short in a process that goes on. One child tries all of them, one after the
other; it is started again behind one that took it along.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from typing import NoReturn

from dlcompare.core.frames import main_thread

SECONDS = 20.0  # for one plug-in: a cold import of something heavy from a network file system, which it should not do
CHILD = """
import sys
sys.path[:] = sys.argv[1].split("\\n")
from dlcompare.core.plugins.registry import try_each
try_each(float(sys.argv[2]), sys.argv[3:])
"""


def tried(names: Sequence[str], *, seconds: float = SECONDS) -> dict[str, str]:
    """Return why plug-ins cannot be loaded, by name, for those of some that cannot. Each may take so many seconds."""
    errors: dict[str, str] = {}
    left = list(names)
    while left:
        done, rest, code = in_child(left, seconds)
        errors |= {name: error for name, error in done.items() if error}
        left = left[len(done):]
        if not left or rest is None:  # nothing more to try, or the child could not even begin: then nobody is blamed
            break
        errors[left[0]] = why(rest, code, seconds)
        print(f"dlcompare: the plug-in {left[0]} is left out: {errors[left.pop(0)]}", file=sys.stderr)  # it took time
    return errors


def in_child(names: Sequence[str], seconds: float) -> tuple[dict[str, str], list[str] | None, int]:
    """Try plug-ins in a child; return the outcomes, what was said since the last of them, and the exit code.

    The second is None if no plug-in was begun after the last outcome.
    """
    argv = [sys.executable, "-I", "-c", CHILD, "\n".join(sys.path), str(seconds), *names]
    with tempfile.TemporaryFile() as report:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=report, stderr=subprocess.DEVNULL,
                                   start_new_session=True)  # Ctrl-C is ours, and not a plug-in's fault
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds * (len(names) + 1))  # it ends itself, unless somebody stopped it
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # and what plug-ins have started
            code = process.wait()
        report.seek(0)
        return *outcomes(report.read().decode(errors="replace").splitlines()), code


def outcomes(lines: Sequence[str]) -> tuple[dict[str, str], list[str] | None]:
    """Return what a child has said of plug-ins, by name, and the lines behind that of one it has only begun."""
    done: dict[str, str] = {}
    rest: list[str] | None = None
    for line in lines:
        if line.startswith("{"):
            told = json.loads(line)
            if "error" in told:
                done[told["name"]] = told["error"]
            rest = None if "error" in told else []
        elif rest is not None:
            rest.append(line)
    return done, rest


def why(rest: Sequence[str], code: int, seconds: float) -> str:
    """Return why a plug-in took the child along, by the traceback that was left if it was given up."""
    if any(line.startswith("Timeout") for line in rest):
        where = next(map(str, main_thread("\n".join(rest))), "Python itself")
        return (f"it was not loaded within {seconds:g} s, and stands in {where}; what takes long belongs where a "
                "worker does it, in load() or trainer()")
    end = f"killed it ({signal.strsignal(-code)})" if code < 0 else f"ended it with exit code {code}"
    return f"loading it in a process of its own {end}"


def each(names: Sequence[str], seconds: float, load: Callable[[str], str]) -> NoReturn:
    """Try plug-ins in this process, tell of each on what stdout was, and end; ``load`` returns an error, or ""."""
    report = os.fdopen(os.dup(1), "w")  # plug-ins and what they start do not inherit it
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for name in names:
        print(json.dumps({"name": name}), file=report, flush=True)
        faulthandler.dump_traceback_later(seconds, exit=True, file=report)
        try:
            error = load(name) or lingering()
        except BaseException as raised:
            error = " ".join(f"{type(raised).__name__}: {raised}".split())
        faulthandler.cancel_dump_traceback_later()
        print(json.dumps({"name": name, "error": error}), file=report, flush=True)
    os._exit(0)


def lingering() -> str:
    """Return what to say of threads that would keep this process from ending."""
    pools = getattr(sys.modules.get("concurrent.futures.thread"), "_threads_queues", {})  # Python ends these itself
    found = [one.name for one in threading.enumerate()
             if not one.daemon and one is not threading.main_thread() and one not in pools]
    return (f"loading it leaves the thread {found[0]!r} at work, which would keep the program from ending; make it a "
            "daemon, or start it in a worker" if found else "")
