"""What was measured of a machine is found again for that machine alone, and answers for the threads asked for."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from dlcompare.core import files
from dlcompare.core.machine.measured import EXCHANGE, MATRIX, MEMORY, Measured, Rate, fingerprint, keep, known
from dlcompare.core.machine.system import system

SYSTEM: dict[str, Any] = {
    "os": "Debian", "kernel": "6.1", "machine": "x86_64", "load_average": [0.5, 0.1, 0.0], "accelerators": [],
    "cpu": {"model": "EPYC", "physical": 2, "logical": 4, "usable": 4, "quota": None, "flags": ["avx2"],
            "governor": None},
    "memory": {"total_bytes": 1 << 34, "available_bytes": 1 << 33, "limit_bytes": None},
}


def rate(what: str, name: str, value: float, **more: Any) -> Rate:
    return Rate(what, name, value, 0.9 * value, 1.1 * value, 1.05 * value, 5,
                "FLOP/s" if what == MATRIX else "B/s", **{"by": "pytorch-ddp", "version": "2.13.0", **more})


RATES = (
    rate(MATRIX, "fp32", 100e9, threads=1, size=1024), rate(MATRIX, "fp32", 110e9, threads=1, size=2048),
    rate(MATRIX, "fp32", 190e9, threads=2, size=2048), rate(MATRIX, "fp32", 200e9, threads=4, size=2048, by="jax"),
    rate(MATRIX, "bf16", 900e9, threads=4, size=2048), rate(MATRIX, "fp32", 5e13, device="cuda", size=8192),
    rate(MEMORY, "triad", 10e9, threads=1), rate(MEMORY, "triad", 20e9, threads=4),
    rate(EXCHANGE, "loopback", 3e9), rate(EXCHANGE, "pipe", 2e9),
)


def made(**more: Any) -> Measured:
    return Measured(**{"fingerprint": fingerprint(SYSTEM), "measured": "2026-11-30T10:00:00+00:00", "seconds": 9.5,
                       "rates": RATES, "absent": {"idle power": "no meter"}, "topology": {"numa": [[0, 1]]}, **more})


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLCOMPARE_CACHE", str(tmp_path))


def test_what_is_kept_is_known_again() -> None:
    assert known(SYSTEM) is None
    keep(made())
    assert known(SYSTEM) == made()


def test_this_machine_is_asked_by_default() -> None:
    mine = made(fingerprint=fingerprint(system()))
    keep(mine)
    assert known() == mine


@pytest.mark.parametrize("path", [("kernel",), ("cpu", "model"), ("cpu", "usable"), ("cpu", "quota"),
                                  ("memory", "limit_bytes"), ("accelerators",)])
def test_another_machine_is_not_known(path: tuple[str, ...]) -> None:
    keep(made())
    other = copy.deepcopy(SYSTEM)
    inner = other if len(path) == 1 else other[path[0]]
    inner[path[-1]] = [{"name": "H200", "driver": "570"}] if path == ("accelerators",) else 3
    assert known(other) is None


def test_load_and_free_memory_are_no_part_of_a_machine() -> None:
    keep(made())
    busy = {**SYSTEM, "load_average": [9.0, 9.0, 9.0], "memory": {**SYSTEM["memory"], "available_bytes": 1}}
    assert known(busy) is not None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"rates": 3}', "null"])
def test_a_damaged_file_is_nothing_known(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    files.warn.cache_clear()
    keep(made()).write_text(text)
    assert known(SYSTEM) is None and "measure again with: dlcompare machine" in capfd.readouterr().err


def test_a_file_of_another_machine_under_this_ones_name_is_nothing_known() -> None:
    path = keep(made())
    other = keep(made(fingerprint={**fingerprint(SYSTEM), "kernel": "7.0"}))
    path.write_text(other.read_text())
    assert known(SYSTEM) is None


@pytest.mark.parametrize(("threads", "value"), [(1, 110e9), (2, 190e9), (3, 200e9), (4, 200e9), (9, 200e9),
                                                (None, 200e9)])
def test_the_peak_of_so_many_threads_is_the_best_of_the_fewest_that_are_enough(threads: int | None, value: float,
                                                                               ) -> None:
    found = made().peak_flops("cpu", "fp32", threads)
    assert found and found.value == value


def test_what_was_not_measured_is_absent_and_never_zero() -> None:
    assert made().peak_flops("cpu", "fp16", 1) is None and made(rates=()).memory_bandwidth() is None
    assert made().exchange("carrier pigeon") is None
    cuda, memory, loopback = made().peak_flops("cuda", "fp32"), made().memory_bandwidth(4), made().exchange()
    assert cuda and memory and loopback and (cuda.value, memory.value, loopback.value) == (5e13, 20e9, 3e9)


def test_a_peak_bounds_those_who_were_measured_in_their_version() -> None:
    found = made().peak_flops("cpu", "fp32", 4)
    assert found and made().bounds(found, "jax", "2.13.0") and not made().bounds(found, "jax", "2.14.0")
    assert not made().bounds(found, "mxnet", "2.13.0")


def test_who_was_measured_elsewhere_is_not_bound_by_a_peak() -> None:
    for threads, device, name in ((1, "cpu", "fp32"), (4, "cpu", "bf16"), (None, "cuda", "fp32")):
        found = made().peak_flops(device, name, threads)
        assert found and not made().bounds(found, "jax", "2.13.0") and made().bounds(found, "pytorch-ddp", "2.13.0")


def test_the_ceiling_is_the_best_repeat_or_the_end_of_the_interval() -> None:
    assert rate(MATRIX, "fp32", 100.0).ceiling == pytest.approx(110.0)
    assert Rate(MATRIX, "fp32", 100.0, None, None, 104.0, 1, "FLOP/s", "jax").ceiling == 104.0
