"""Starting, watching and stopping the processes of a job, and the reason that is given when it ends badly."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import eventually

from dlcompare.core.errors import JobError
from dlcompare.core.launch import failure
from dlcompare.core.launch.lifeline import Events, leave_word
from dlcompare.core.launch.start import Ended, defer_interrupts, drive, find_marked, launch, news, stop, watch
from dlcompare.core.machine.ports import port_trouble
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.variables import JOB_MARK

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
# A launcher as Horovod's: its worker gets a session of its own, and does not hear SIGTERM.
LAUNCHER = f"""
import subprocess, sys
worker = subprocess.Popen([sys.executable, "-c", {DEAF!r}], start_new_session=True)
sys.exit(worker.wait())
"""


@pytest.fixture
def listener() -> Iterator[int]:
    """Return a loopback port that something listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def program(text: str, folder: Path, mark: str = "") -> subprocess.Popen[bytes]:
    with (folder / "log.txt").open("wb") as log:
        return subprocess.Popen([sys.executable, "-c", text], cwd=folder, env={**os.environ, JOB_MARK: mark},
                                stdout=log, start_new_session=True)


def test_a_line_that_is_cut_waits_for_its_end_and_damaged_ones_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    events = news(file)
    assert next(events) == []
    for text, expected in [('{"pid": 1, "pha', []), ('se": "a"}\n{"pid": 2, "phase": "b"}\n', ["a", "b"]), ("", []),
                           ('{"pid": 3, "ph{"pid": 4, "phase": "c"}\n7\n{"pid": 5, "phase": "d"}\n', ["d"]),
                           ('{"pid": [], "phase": "e"}\n{"pid": 1, "phase": {}}\n', []),
                           ('{"pid": 1, "phase": "f", "rank": "1"}\n', [])]:
        with file.open("a") as stream:
            stream.write(text)
        assert [e["phase"] for e in next(events)] == expected
    with file.open("ab") as binary:
        binary.write(b'\xff\x00\n{"pid": 6, "phase": "e"}\n')
    assert [e["phase"] for e in next(events)] == ["e"]
    assert [e["phase"] for e in failure.read_events(tmp_path)] == ["a", "b", "d", "e"]


def test_what_was_reported_at_the_very_end_is_passed_on(tmp_path: Path) -> None:
    process = program("open('events.jsonl', 'w').write('{\"pid\": 1, \"phase\": \"done\"}\\n')", tmp_path)
    process.wait()
    seen: list[Any] = []
    assert drive(watch(process, tmp_path, stall_seconds=60, on_event=seen.append)) is None
    assert [e["phase"] for e in seen] == ["done"]


def test_every_event_puts_the_stall_off(tmp_path: Path) -> None:
    chatty = "import time\nfor i in range(4):\n open('events.jsonl', 'a').write('{\"pid\": 1, \"phase\": \"a\"}\\n')\n "
    process = program(chatty + "time.sleep(0.5)", tmp_path)
    assert drive(watch(process, tmp_path, stall_seconds=1.5, on_event=lambda event: None)) is None
    process = program("import time; time.sleep(60)", tmp_path)
    begin = time.monotonic()
    assert drive(watch(process, tmp_path, stall_seconds=0.5, on_event=lambda event: None)) == 0.5
    assert time.monotonic() - begin < 3
    stop(process, "none")


def test_an_event_that_does_not_fit_on_the_disk_is_a_sign_of_life_as_well(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").touch()
    full = """
import errno, pathlib, sys, time
from dlcompare.core.launch.lifeline import Events
def refuse(*_, **__): raise OSError(errno.ENOSPC, "No space left on device")
pathlib.Path.open = refuse
for i in range(8):
    Events(pathlib.Path("events.jsonl"))("window")
    time.sleep(0.5)
"""
    assert drive(watch(program(full, tmp_path), tmp_path, stall_seconds=3, on_event=lambda event: None)) is None
    assert (tmp_path / "events.jsonl").read_text() == ""


def test_stopping_reaches_deaf_processes_in_other_sessions_and_no_others(tmp_path: Path) -> None:
    mark = f"test-{os.getpid()}"
    process, stranger = program(LAUNCHER, tmp_path, mark), program("import time; time.sleep(60)", tmp_path, "other")
    assert eventually(lambda: "deaf" in (tmp_path / "log.txt").read_text(), within=20)
    assert len(find_marked(mark)) == 2
    begin = time.monotonic()
    assert stop(process, mark) != 0
    assert time.monotonic() - begin < 10
    assert find_marked(mark) == []
    assert stranger.poll() is None
    stop(stranger, "other")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_ctrl_c_waits_until_all_is_stopped(number: signal.Signals) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(number, interrupt)
    finished = False
    try:
        with pytest.raises(KeyboardInterrupt), defer_interrupts():
            os.kill(os.getpid(), number)
            time.sleep(0.05)
            finished = True
        assert signal.getsignal(number) is interrupt
    finally:
        signal.signal(number, before)
    assert finished


def test_a_taken_port_is_told_at_planning_and_again_at_the_start(listener: int, tmp_path: Path) -> None:
    assert f"port {listener} on loopback is taken" in str(port_trouble(listener))
    ended = launched(tmp_path, Job(framework="reference", model="resnet18", port=listener))
    assert "is taken; name another with --port" in str(ended.reason)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert port_trouble(port) is None


def test_an_interpreter_that_has_gone_is_a_reason(tmp_path: Path) -> None:
    ended = launched(tmp_path, Job(framework="reference", model="resnet18"))
    assert ended.code == 127
    assert ended.reason == "/nowhere/python cannot be started: No such file or directory"


def launched(folder: Path, job: Job) -> Ended:
    return launch(plugins().backend(job.framework), job, folder, python="/nowhere/python", path=folder,
                  stall_seconds=5, on_event=lambda event: None)


def job_folder(folder: Path, *, ranks: int = 2, log: str = "") -> Path:
    """Fill a job's folder as workers with pids 100, 101, ... do that have joined."""
    for rank in range(ranks):
        told = json.dumps({"time": 0, "pid": 100 + rank, "phase": "data", "rank": rank})
        with (folder / "events.jsonl").open("a") as file:
            file.write(f"{told}\n")
    (folder / "log.txt").write_text(log)
    return folder


def word(folder: Path, pid: int, message: str, *, kind: str, at: float = 0.0, memory: str | None = None) -> None:
    told = {"time": at, "kind": kind, "message": message, "memory": memory}
    (folder / f"error-{pid}.json").write_text(json.dumps(told))


def test_a_worker_that_says_nothing_is_named_with_its_rank(tmp_path: Path) -> None:
    job_folder(tmp_path)
    word(tmp_path, 101, "RuntimeError: connection\nclosed by peer", kind="raised")
    reason = failure.why(tmp_path, 1)
    assert reason.startswith("worker process 100 (rank 0) died without a word")
    assert "Another worker said: RuntimeError: connection closed by peer" in reason
    assert "smaller --batch" in reason


@pytest.mark.parametrize(("log", "told"), [
    ("F1125 08:50:40.470954   29911 parse_flags_from_env.cc:234] Unknown flag in XLA_FLAGS: --xla_nonexistent=1\n"
     "the process of rank 0 ended with exit code 1; the others are stopped", "Unknown flag in XLA_FLAGS: --xla_none"),
    ("[0]<stderr>:terminate called after throwing an instance of 'gloo::IoException'\n"
     "[0]<stderr>:  what():  [gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting 0ms for recv operation\n"
     "[0]<stderr>:Aborted\nProcess 0 exit with status code 134.", "unbound_buffer.cc:81] Timed out waiting 0ms for"),
    ("[rank0]:Fatal Python error: Segmentation fault\n", "Fatal Python error: Segmentation fault"),
    ("python: symbol lookup error: libx.so: undefined symbol: y", "libx.so: undefined symbol: y"),
    ("Traceback (most recent call last):\nImportError: libcudart.so.12: no such file", "ImportError: libcudart.so.12"),
])
def test_a_death_that_the_log_explains_is_not_put_down_to_memory(tmp_path: Path, log: str, told: str) -> None:
    reason = failure.why(job_folder(tmp_path, ranks=1, log=f"$ python\nE1125 noise that harms nobody\n{log}\n"), 1)
    assert reason.startswith("worker process 100 (rank 0) died, and the log says: ") and told in reason
    assert "memory" not in reason and "\n" not in reason


def test_what_another_worker_says_of_the_loss_is_no_reason_of_it(tmp_path: Path) -> None:
    said = "JaxRuntimeError: UNKNOWN: Gloo all-reduce failed: Read error: Connection reset by peer"
    job_folder(tmp_path, log=f"$ a\nTraceback (most recent call last):\njax.errors.{said}\n")
    word(tmp_path, 101, said, kind="raised")
    reason = failure.why(tmp_path, 1)
    assert reason.startswith("worker process 100 (rank 0) died without a word")
    assert f"Another worker said: {said}" in reason


@pytest.mark.parametrize("log", [
    "$ python -m x Error: y\nW1125 10:00:00 slow\n", "$ a\nF1125 08:50:40.4 of an earlier try\n$ a\nnothing\n",
    "$ a\nOSError: which harmed nobody\nSignal 9 (SIGKILL) received by PID 100\n",
    "$ a\nOSError: which harmed nobody\nProcess 0 exit with status code 137.\n",
    "$ a\nOSError: which harmed nobody\nthe process of rank 0 ended with exit code -9; the others are stopped\n"])
def test_a_log_without_a_reason_explains_no_death(tmp_path: Path, log: str) -> None:
    job_folder(tmp_path, ranks=1, log=log)
    assert "died without a word" in failure.why(tmp_path, 137)


def test_a_worker_that_was_told_to_stop_or_has_finished_did_not_die_silently(tmp_path: Path) -> None:
    job_folder(tmp_path, ranks=3)
    word(tmp_path, 101, "it was told to stop", kind="stopped", at=1)
    word(tmp_path, 102, "ValueError: the cause", kind="raised", at=2)
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"time": 0, "pid": 100, "phase": "done"}\n')
    assert failure.why(tmp_path, 1) == "ValueError: the cause"


def test_a_reason_that_we_give_beats_what_follows_from_it(tmp_path: Path) -> None:
    job_folder(tmp_path, ranks=3)
    word(tmp_path, 100, "RuntimeError: connection closed by peer", kind="raised", at=1)
    word(tmp_path, 102, "the loss is nan", kind="known", at=2)
    assert failure.why(tmp_path, 1) == "the loss is nan"


@pytest.mark.parametrize("said", [
    "MemoryError: Unable to allocate 8.00 GiB for an array", "RuntimeError: DefaultCPUAllocator: can't allocate memory",
    "OutOfMemoryError: CUDA out of memory", "ResourceExhaustedError: OOM when allocating tensor with shape[9]",
    "OSError: [Errno 12] Cannot allocate memory", "terminate called after throwing an instance of 'std::bad_alloc'",
])
def test_whoever_runs_out_of_memory_is_told_what_to_do(tmp_path: Path, said: str) -> None:
    job_folder(tmp_path, ranks=1, log=f"first\n{said}\nlast\n")
    assert failure.why(tmp_path, -6).startswith("memory ran out in worker process 100 (rank 0) (")
    word(tmp_path, 100, said, kind="raised")
    assert failure.why(tmp_path, 1) == f"memory ran out ({said}); try a smaller --batch or fewer --workers"


@pytest.mark.parametrize(("log", "memory", "sign"), [
    ("allocator ran out of memory\nAborted", None, "allocator ran out of memory"),
    ("", "the worker held 0.99 of the 1.00 GiB that it may take", "the worker held 0.99 of the 1.00 GiB"),
])
def test_signs_of_a_lack_of_memory_are_told_as_such(tmp_path: Path, log: str, memory: str | None, sign: str) -> None:
    word(job_folder(tmp_path, ranks=1, log=log), 100, "could not execute a primitive", kind="raised", memory=memory)
    assert failure.why(tmp_path, 1).startswith(
        f"could not execute a primitive. It seems that memory ran out ({sign}")


def test_a_long_message_keeps_its_beginning_and_its_end(tmp_path: Path) -> None:
    word(job_folder(tmp_path, ranks=1), 100, f"ValueError: \n{'x ' * 9999}\n the essence", kind="raised")
    reason = failure.why(tmp_path, 1)
    assert reason.startswith("ValueError: x x") and reason.endswith("x the essence") and len(reason) < 420


def test_a_launcher_that_fails_by_itself_is_quoted_from_the_end_of_a_long_log(tmp_path: Path) -> None:
    job_folder(tmp_path, ranks=0)
    with (tmp_path / "log.txt").open("w") as file:
        file.truncate(1 << 30)  # 1 GiB of nothing, to be passed over
        file.seek(0, os.SEEK_END)
        file.write("\nno module named torch\n=====\n")
    begin = time.monotonic()
    assert failure.why(tmp_path, 3) == "the launcher ended with exit code 3: no module named torch"
    assert time.monotonic() - begin < 1


@pytest.mark.parametrize(("code", "name", "cause"), [
    (-signal.SIGKILL, "SIGKILL", "the kernel does so when memory runs out: then try a smaller --batch"),
    (-signal.SIGTERM, "SIGTERM", "a person, a job scheduler"), (-signal.SIGSEGV, "SIGSEGV", "it crashed"),
    (-signal.SIGRTMIN - 1, f"signal {signal.SIGRTMIN + 1}", "it crashed")])
def test_a_launcher_that_was_killed_is_named_with_the_signal(tmp_path: Path, code: int, name: str, cause: str) -> None:
    job_folder(tmp_path, log="$ python -m torch.distributed.run --standalone\nsomething else\n")
    word(tmp_path, 101, "it was told to stop", kind="stopped")
    reason = failure.why(tmp_path, code, launcher=99)
    assert reason.startswith(f"the launcher (torch.distributed.run) was killed by {name} ({cause}")
    assert reason.endswith("; its workers were stopped. Repeat the command with --resume") and "something" not in reason
    assert failure.why(tmp_path, code, launcher=100).startswith("worker process 100 (rank 0) died")  # the worker itself


def test_a_stall_tells_who_joined(tmp_path: Path) -> None:
    assert "0 worker processes started, and of the ranks none joined" in failure.explain_stall(tmp_path, 5)
    events = Events(tmp_path / "events.jsonl")
    events("data", rank=1)
    told = failure.explain_stall(tmp_path, 5)
    assert "the last was 'data'; 1 worker processes started, and of the ranks 1 joined" in told


def test_what_a_worker_leaves_is_what_the_autopsy_reads(tmp_path: Path) -> None:
    leave_word(tmp_path, "a reason", kind="known")
    (found,) = failure.last_words(tmp_path)
    assert (found["pid"], found["kind"], found["message"]) == (os.getpid(), "known", "a reason")


def test_a_log_that_cannot_be_written_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "log.txt").symlink_to("/dev/full")
    with pytest.raises(JobError, match=r"cannot write .*/log\.txt: No space left on device; make room"):
        launched(tmp_path, Job(framework="reference", model="resnet18"))


@pytest.mark.parametrize(("log", "told"), [
    ("$ horovodrun\n[1]<stderr>:One or more tensors are waiting for remainder of ranks\n[1]<stderr>:a warning\n",
     ". The log says: One or more tensors are waiting for remainder of ranks"),
    ("$ python\nreading the file\n===\n", ". The log says: reading the file"), ("$ python waiting\n", "that slow")])
def test_a_stall_quotes_what_the_log_waits_for(tmp_path: Path, log: str, told: str) -> None:
    assert failure.explain_stall(job_folder(tmp_path, log=log), 5).endswith(told)


def test_a_traceback_that_an_exception_quotes_is_left_out(tmp_path: Path) -> None:
    message = ('MXNetError: Traceback (most recent call last):\n  File "../src/storage.h", line 74\n'
               "MXNetError: Failed to allocate CPU Memory")
    word(job_folder(tmp_path, ranks=1), 100, message, kind="raised")
    reason = failure.why(tmp_path, 1)
    assert reason.startswith("memory ran out (MXNetError: MXNetError: Failed to allocate CPU Memory);")
