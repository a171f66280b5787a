"""Builds are found again, and made again where something of them has gone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dlcompare.core.plugins.inference_job import InferenceJob
from dlcompare.inference.worker.builds import NOTE, find_or_build


class Engine:
    """Writes a blob of a hundred bytes, and counts how often."""

    name, built = "counting", 0

    def identity(self, job: InferenceJob) -> dict[str, str]:
        return {}

    def build(self, job: InferenceJob, folder: Path) -> None:
        self.built += 1
        (folder / "blob").write_bytes(bytes(100))


@pytest.mark.parametrize(("name", "text"), [(NOTE, "{"), (NOTE, "[]"), (NOTE, '{"bytes": 100}'), ("blob", "cut")])
def test_a_damaged_build_is_made_again(tmp_path: Path, name: str, text: str) -> None:
    engine: Any = Engine()
    job = InferenceJob(engine="counting", model="m", precision="fp32", batch=1)
    first = find_or_build(engine, job, tmp_path)
    assert find_or_build(engine, job, tmp_path) == replace(first, cached=True) and engine.built == 1
    (first.folder / name).write_text(text)
    again = find_or_build(engine, job, tmp_path)
    assert (again.cached, again.bytes, engine.built) == (False, 100, 2)
    assert (again.folder / "blob").read_bytes() == bytes(100)
    assert find_or_build(engine, job, tmp_path).cached
