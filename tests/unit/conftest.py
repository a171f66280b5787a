"""What tests of several folders share: one worker process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from running import SLOW, offering

from dlcompare.core.kinds.kind import kind


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Return a function that starts a worker on a job in ``tmp_path``; ``of`` is its kind."""
    started = []

    def begin(framework: str = "reference", *, of: str = "training", log: Path | None = None,
              variables: dict[str, str] | None = None, **job: Any) -> subprocess.Popen[bytes]:
        wanted = {"model": "speck", "batch": 2, "steps": 1, "windows": 2, "warmup_steps": 1, **job}
        (tmp_path / "job.json").write_text(kind(of).job(framework=framework, **wanted).to_json())
        environment = {**os.environ, **offering(*SLOW), **(variables or {})}
        with (log or tmp_path / "log.txt").open("ab") as file:
            started.append(subprocess.Popen([sys.executable, "-m", "dlcompare.core.worker", "job.json", "."],
                                            cwd=tmp_path, env=environment, stdout=file, stderr=file))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()
