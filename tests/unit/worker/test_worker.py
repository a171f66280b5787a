"""One worker process as its launcher sees it: what it writes, how it fails, and when it leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from running import eventually

from dlcompare.core.graph.params import write_params
from dlcompare.core.kinds.training.result import RankResult
from dlcompare.core.launch import failure
from dlcompare.core.machine.memory import free_memory, share
from dlcompare.core.typed_json import from_plain
from dlcompare.core.variables import MEMORY, PARENT, RANK_IN

Start = Callable[..., "subprocess.Popen[bytes]"]  # the fixture `worker`, of conftest.py
NOBODY = str(2**22 + 1)  # above the highest pid that Linux gives


def last_words(folder: Path) -> tuple[str, str]:
    (found,) = failure.last_words(folder)
    return found["kind"], found["message"]


def phases(folder: Path) -> list[str]:
    return [event["phase"] for event in failure.read_events(folder)]


def test_a_job_can_be_repeated_by_hand_from_its_file(worker: Start, tmp_path: Path) -> None:
    assert worker().wait(60) == 0
    result = from_plain(RankResult, json.loads((tmp_path / "rank-0.json").read_text()), what="rank result")
    assert (result.rank, result.world, len(result.windows)) == (0, 1, 2)
    assert [phases(tmp_path)[i] for i in (0, -1)] == ["start", "done"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["events.jsonl", "job.json", "log.txt", "rank-0.json"]


def test_a_worker_tells_its_rank_from_its_start_as_far_as_the_launcher_told_it(worker: Start, tmp_path: Path) -> None:
    assert worker(variables={RANK_IN: "MY_RANK", "MY_RANK": "3"}).wait(60) == 0
    assert [event.get("rank") for event in failure.read_events(tmp_path) if event["phase"] == "start"] == [3]


def test_a_loss_that_is_not_finite_ends_the_job(worker: Start, tmp_path: Path) -> None:
    assert worker(lr=1e200).wait(60) == 1
    kind, message = last_words(tmp_path)
    assert kind == "known"
    assert "training diverged; use a smaller --lr than 1e+200" in message
    assert "Traceback" in (tmp_path / "log.txt").read_text()


def test_a_worker_without_enough_memory_fails_alone_and_says_so(worker: Start, tmp_path: Path) -> None:
    assert worker(model="vgg19", image_size=32, variables={MEMORY: str(400 << 20)}).wait(60) == 1
    kind, message = last_words(tmp_path)
    assert kind == "raised"
    assert failure.why(tmp_path, 1) == f"memory ran out ({message}); try a smaller --batch or fewer --workers"


def test_the_share_of_memory_is_what_is_free_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MEMORY, raising=False)
    assert 0 < int(share(4)) < 0.3 * free_memory()
    monkeypatch.setenv(MEMORY, "12345")
    assert share(4) == "12345"


def test_a_limit_that_the_user_has_set_already_is_kept() -> None:
    program = (f"import os, resource; resource.setrlimit(resource.RLIMIT_DATA, ({1 << 30}, {1 << 30}))\n"
               f"from dlcompare.core.machine.memory import limit_memory\n"
               f"limit_memory(); print(resource.getrlimit(resource.RLIMIT_DATA)[0])")
    answer = subprocess.run([sys.executable, "-c", program], env={**os.environ, MEMORY: str(1 << 40)}, check=True,
                            capture_output=True, text=True)
    assert int(answer.stdout) == 1 << 30


def test_sigterm_ends_a_worker_at_once_though_its_main_thread_is_busy(worker: Start, tmp_path: Path) -> None:
    process = worker("hung", variables={"SLOW_RANK": "0"})
    assert eventually(lambda: "data" in phases(tmp_path), within=30)
    begin = time.monotonic()
    process.terminate()
    assert process.wait(10) == 143
    assert time.monotonic() - begin < 1.5
    assert last_words(tmp_path) == ("stopped", "it was told to stop")


def test_a_worker_ends_with_the_program_that_started_the_job(worker: Start, tmp_path: Path) -> None:
    parent = subprocess.Popen(["sleep", "60"])
    process = worker("hung", variables={"SLOW_RANK": "0", PARENT: str(parent.pid)})
    assert eventually(lambda: "data" in phases(tmp_path), within=30)
    time.sleep(2.5)
    assert process.poll() is None
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert process.wait(5) == 3


def test_a_worker_whose_parent_is_gone_already_does_nothing(worker: Start, tmp_path: Path) -> None:
    assert worker(variables={PARENT: NOBODY}).wait(10) == 3
    assert not (tmp_path / "events.jsonl").exists()


def test_a_log_that_cannot_be_written_hides_no_reason(worker: Start, tmp_path: Path) -> None:
    assert worker(lr=1e200, log=Path("/dev/full")).wait(60) == 1
    assert "training diverged" in last_words(tmp_path)[1]


def pictures(folder: Path) -> Path:
    """Write two JPEG files, one of them cut in the middle."""
    noise = np.random.default_rng(0)
    for name in ("good", "bad"):
        (folder / name).mkdir(parents=True)
        Image.fromarray(noise.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(folder / name / f"{name}.jpg")
    whole = (folder / "bad" / "bad.jpg").read_bytes()
    (folder / "bad" / "bad.jpg").write_bytes(whole[: len(whole) // 2])
    return folder


def test_a_truncated_picture_is_named(worker: Start, tmp_path: Path) -> None:
    root = pictures(tmp_path / "pictures")
    process = worker(data=f"imagefolder:{root}", loaders=2)
    assert process.wait(60) == 1
    kind, message = last_words(tmp_path)
    assert kind == "known"
    assert message.startswith(f"cannot read the image {root / 'bad' / 'bad.jpg'}: ")


@pytest.mark.parametrize("bias", [None, (11,)], ids=["missing", "misshapen"])
def test_weights_that_do_not_fit_are_named(worker: Start, tmp_path: Path, bias: tuple[int, ...] | None) -> None:
    shapes = {"conv.weight": (4, 3, 3, 3), "conv.bias": (4,), "fc.weight": (10, 144), "fc.bias": bias}
    file = tmp_path / "weights.safetensors"
    write_params(file, {name: np.zeros(shape, np.float32) for name, shape in shapes.items() if shape})
    assert worker(weights=str(file)).wait(60) == 1
    kind, message = last_words(tmp_path)
    assert kind == "known"
    assert "fc.bias" in message and str(file) in message


@pytest.mark.parametrize(("change", "words"), [
    ({"frobnicate": 1}, "unknown job key 'frobnicate'"),
    ({"kind": "trianing"}, "unknown kind of measurement 'trianing'"),
    ({"kind": None}, "a job must name its kind, as in"),
    ({"windows": "many"}, "job windows must be of type int, not 'many'"),
])
def test_a_job_file_of_another_version_is_refused(worker: Start, tmp_path: Path, change: dict[str, object],
                                                  words: str) -> None:
    process = worker(variables={PARENT: NOBODY})
    process.wait(10)
    known = {**json.loads((tmp_path / "job.json").read_text()), **change}
    if known["kind"] is None:
        del known["kind"]
    (tmp_path / "job.json").write_text(json.dumps(known))
    answer = subprocess.run([sys.executable, "-m", "dlcompare.core.worker", "job.json", "."], cwd=tmp_path,
                            capture_output=True, check=False)
    assert answer.returncode == 1
    assert words in last_words(tmp_path)[1]
