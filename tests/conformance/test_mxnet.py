"""mxnet beyond the shared conformance cases: its scheduler and servers, the wrong NumPy, steps of a special kind."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mxnet_probe
import numpy as np
import psutil
import pytest
from running import SLOW, Command, eventually, offering

from dlcompare.core.environments.interpreters import check
from dlcompare.core.environments.sources import linked_sources
from dlcompare.core.launch import start
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.registry import plugins
from dlcompare.frameworks.mxnet import CHECK, Mxnet, MxnetHorovod

TRAIN = ("--framework", "mxnet", "--model", "speck", "--device", "cpu", "--batch", "2", "--workers", "2",
         "--threads", "1", "--steps", "1", "--windows", "3000", "--verify", "off")
FIX = "finds NumPy {}; run `pip install numpy==1.23.5` in that environment"

Start = Callable[..., Command]


@pytest.fixture(scope="module")
def python(environment: Callable[[str], Path]) -> Path:
    return environment("mxnet")


@pytest.fixture
def train(start: Start, python: Path) -> Callable[..., Command]:
    return lambda *words: start(*TRAIN, *words, **offering(*SLOW))


@pytest.fixture
def training(train: Callable[..., Command]) -> Command:
    """Return a command whose two workers are in the midst of training."""
    command = train()
    command.until("mxnet", "window", within=120)
    return command


def members(command: Command) -> dict[str, list[psutil.Process]]:
    """Return the living processes of a job by what they are: launcher, scheduler, server, worker."""
    found: dict[str, list[psutil.Process]] = {}
    for pid in command.left():
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            words = " ".join(process.cmdline())
            role = "launcher" if "mxnet.launcher" in words else process.environ().get("DMLC_ROLE", "parent")
            found.setdefault(role, []).append(process)
    return found


def reason(command: Command, *, within: float) -> str:
    """Return the reason of a job that fails in time and leaves nothing behind."""
    assert command.wait(within) == 1
    assert command.left() == []
    record = command.records()["mxnet"]
    assert record["status"] == "failed"
    return str(record["reason"])


def test_scheduler_server_and_workers_listen_on_loopback_alone(training: Command) -> None:
    found = members(training)
    assert {role: len(processes) for role, processes in found.items()} == {
        "parent": 2, "launcher": 1, "scheduler": 1, "server": 1, "worker": 2}, "a parent and its sampler of meters"
    sockets = [(role, socket.laddr.ip) for role, processes in found.items() for process in processes
               for socket in process.net_connections() if socket.status == psutil.CONN_LISTEN]
    assert sorted(set(sockets)) == [(role, "127.0.0.1") for role in ("scheduler", "server", "worker")]


@pytest.mark.parametrize("role", ["scheduler", "server"])
def test_a_killed_helper_fails_the_job_and_is_named(training: Command, role: str) -> None:
    members(training)[role][0].kill()
    assert f"the {role} was killed by SIGKILL" in reason(training, within=30)


def test_a_killed_launcher_leaves_no_servers(training: Command) -> None:
    members(training)["launcher"][0].kill()
    assert "the launcher (dlcompare.frameworks.mxnet.launcher) was killed by SIGKILL" in reason(training, within=30)


def test_launcher_and_parent_killed_at_once_leave_no_servers(training: Command) -> None:
    for process in (training.process, *members(training)["launcher"]):
        process.kill()
    training.wait(10)
    assert training.nothing_left(within=10)


def test_a_worker_that_never_joins_is_waited_for_so_long_and_no_longer(train: Callable[..., Command]) -> None:
    command = train("--timeout", "8")
    assert eventually(lambda: any(suspended(worker) for worker in members(command).get("worker", [])), within=60)
    said = reason(command, within=60)
    assert said.startswith("no sign of life for 8 s")
    assert "1 worker processes started (ranks 0), and of the ranks none joined" in said


def suspended(worker: psutil.Process) -> bool:
    """Suspend the worker of rank 1; return whether it is that one."""
    if mine := worker.environ().get(Mxnet.rank_variable) == "1":
        worker.suspend()
    return mine


@pytest.fixture(scope="module")
def wrong(python: Path, environment: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an interpreter that has MXNet's environment, but finds the NumPy of TensorFlow's first."""
    folder, newer = tmp_path_factory.mktemp("wrong"), environment("tf-horovod")
    subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    places = [next(p.parent.parent.glob("lib/python*/site-packages")) for p in (newer, python)]
    if places[0].parent.name != packages.parent.name:
        pytest.skip("the two environments are of different Pythons")
    for name in ("numpy", "numpy.libs"):
        (packages / name).symlink_to(places[0] / name)
    (packages / "rest.pth").write_text(str(places[1]))
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def version(wrong: Path) -> str:
    done = subprocess.run([wrong, "-c", "import numpy; print(numpy.__version__)"], capture_output=True, text=True,
                          check=True)
    assert done.stdout.startswith("1.2") and tuple(map(int, done.stdout.split(".")[:2])) >= (1, 24)
    return done.stdout.strip()


def test_the_wrong_numpy_is_named_before_anything_starts(start: Start, wrong: Path, version: str) -> None:
    works, words = check(wrong, CHECK)
    assert not works and FIX.format(version) in words
    command = start("--framework", "mxnet", "--model", "resnet18", "--image-size", "32", "--env", str(wrong))
    assert command.wait() != 0
    assert FIX.format(version) in json.dumps(command.records())


@pytest.mark.parametrize("workers", [1, 2])
def test_the_wrong_numpy_is_named_by_the_workers(wrong: Path, version: str, tmp_path: Path, workers: int) -> None:
    job = Job("mxnet", "resnet18", image_size=32, workers=workers)
    (tmp_path / "job.json").write_text(job.to_json())
    begin = time.monotonic()
    ended = start.launch(Mxnet(), job, tmp_path, python=str(wrong), path=linked_sources(), stall_seconds=60,
                          on_event=lambda event: None)
    assert ended.reason and FIX.format(version) in ended.reason
    assert time.monotonic() - begin < 30


@pytest.mark.parametrize(("execution", "walks"), [("graph", 2), ("eager", 10)])
def test_steps_without_a_rate_other_batches_and_onlookers(python: Path, execution: str, walks: int) -> None:
    argv = [python, mxnet_probe.__file__, execution]
    done = subprocess.run(argv, env={**os.environ, **Mxnet().variables(mxnet_probe.job(execution)),
                                     "PYTHONPATH": str(linked_sources())}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    oracle = plugins().backend("reference")
    want = mxnet_probe.story(oracle.trainer(mxnet_probe.graph(), mxnet_probe.params(), mxnet_probe.job(execution)))
    for name, value in want["params"].items():
        np.testing.assert_allclose(seen["params"][name], value, rtol=2e-4, atol=2e-6, err_msg=name)
    for number, (look, right) in enumerate(zip(seen["looks"], want["looks"], strict=True)):
        np.testing.assert_allclose(look, right, rtol=2e-4, atol=2e-5, err_msg=f"look {number}")
    assert seen["walks"] <= walks
    assert (seen["walks"] == walks) or execution == "graph"


def test_horovod_listens_on_loopback_and_a_killed_worker_ends_its_job(
        start: Start, environment: Callable[[str], Path]) -> None:
    environment("mxnet-horovod")
    command = start("--framework", "mxnet-horovod", *TRAIN[2:], **offering(*SLOW))
    command.until("mxnet-horovod", "window", within=120)
    family = [psutil.Process(pid) for pid in command.left()]
    heard = {s.laddr.ip for p in family for s in p.net_connections() if s.status == psutil.CONN_LISTEN}
    assert heard == {"127.0.0.1"}
    victim = next(p for p in family if p.environ().get(MxnetHorovod.rank_variable) == "1")
    victim.kill()
    assert command.wait(30) == 1
    assert command.left() == []
    assert command.records()["mxnet-horovod"]["status"] == "failed"


def test_the_two_exchanges_give_the_same_losses(start: Start, environment: Callable[[str], Path]) -> None:
    environment("mxnet-horovod")
    ended = start("--framework", "mxnet,mxnet-horovod", "--model", "bert-tiny", "--batch", "2", "--workers", "2",
                  "--threads", "1", "--steps", "2", "--windows", "2", "--verify", "off")
    assert ended.wait(180) == 0
    kvstore, horovod = ({one["step"]: one["loss"] for one in ended.records()[name]["loss"]}
                        for name in ("mxnet", "mxnet-horovod"))
    common = sorted(kvstore.keys() & horovod.keys())  # which steps are noted depends on the warm-up
    assert len(common) > 2
    assert [kvstore[step] for step in common] == [horovod[step] for step in common]


def test_cuda_is_refused_with_the_reason() -> None:
    refused = Mxnet().refuse(Job("mxnet", "resnet18", device="cuda"))
    assert refused and "retired in 2023" in refused and "CUDA 11.7" in refused
    assert "not execution compiled" in str(Mxnet().refuse(Job("mxnet", "resnet18", execution="compiled")))


@pytest.mark.parametrize("backend", [Mxnet(), MxnetHorovod()])
def test_fp16_is_refused_with_what_was_tried_and_bf16_is_not(backend: Mxnet) -> None:
    refused = backend.refuse(Job(backend.name, "resnet18", precision="fp16"))
    assert refused and "FP16 gemm on cpu not implemented" in refused and "--precision bf16" in refused
    assert backend.refuse(Job(backend.name, "resnet18", precision="bf16")) is None
