"""A minute of damaged files for everything that reads files of others; tests/benchmarks/fuzz.py is the hour of it."""

from __future__ import annotations

import functools
import random
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from readers import READERS

SECONDS = 20  # that one damaged file may take on a machine that does something else
INPUTS = {"records": 120, "inference.json": 60}  # that are not only read but shown, in every form
samples = functools.cache(lambda name: READERS[name].samples())


@pytest.mark.parametrize("name", READERS)
def test_a_whole_file_is_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x" / READERS[name].file
    path.parent.mkdir()
    path.write_bytes(samples(name)[0])
    READERS[name].read(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_read_or_one_error(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    (tmp_path / "x").mkdir()

    @settings(max_examples=INPUTS.get(name, 600), deadline=None, database=None, derandomize=True,
              suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 2**32), st.sampled_from(samples(name)))
    def survives(seed: int, sample: bytes) -> None:
        damaged, began = reader.damage(sample, random.Random(seed)), time.monotonic()
        reader.survives(damaged, tmp_path / "x")
        assert time.monotonic() - began < SECONDS

    survives()
