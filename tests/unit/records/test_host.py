"""What a host did during windows, from counters; and how one line says it."""

from __future__ import annotations

import dataclasses
from typing import Any

import fabricated
import pytest

from dlcompare.core.meters.host.page_cache import Residency
from dlcompare.core.meters.meter import Metered
from dlcompare.core.records.host import host
from dlcompare.core.records.recompute import recomputed
from dlcompare.core.records.record import Window
from dlcompare.core.reports.sections.host import hosts, line
from dlcompare.core.reports.text import to_text

METERS = [Metered("processors", "window", about={"cores": 4})]
COUNTED = {"cores watched": 2.0, "cores busy": 6.0, "cores stolen": 0.1, "job busy": 5.0, "lo received": 3e6,
           "lo sent": 1e6, "eth0 received": 10.0, "eth0 sent": 10.0, "job read from storage": 4e6,
           "job written to storage": 0.0, "workers user time": 4.0, "workers cycles": 12e9,
           "workers instructions": 18e9, "workers cache references": 100.0, "workers cache misses": 30.0,
           "workers uncounted": 0.0, "workers page faults from disk": 8.0}


def window(**less: Any) -> Window:
    counted = {key: value for key, value in {**COUNTED, **less}.items() if value is not None}
    return Window(steps=1, samples=8, seconds=(1.9,), started=0.0, counted=counted)


def test_counters_become_rates_of_the_time_that_was_watched() -> None:
    found = host(METERS, [window(), window(**{"cores busy": 8.0})], [window()])
    assert found and (found.seconds, found.cores) == (4.0, 4)
    assert (found.cores_busy, found.cores_stolen, found.job_cores) == (3.5, 0.05, 2.5)
    assert (found.storage_read, found.storage_written) == (2e6, 0.0)
    assert (found.received, found.sent) == ({"lo": 1.5e6, "eth0": 5.0}, {"lo": 5e5, "eth0": 5.0})
    assert (found.instructions_per_cycle, found.clock_hz, found.cache_misses) == (1.5, 3e9, 0.3)
    assert (found.uncounted, found.faults_from_disk) == (0.0, 4.0)


def test_what_one_window_lacks_has_no_number_of_all() -> None:
    found = host(METERS, [window(), window(**{"job read from storage": None, "lo sent": None})])
    assert found and found.storage_read is None and found.storage_written == 0.0
    assert (found.received, found.sent) == ({"lo": 1.5e6, "eth0": 5.0}, {"eth0": 5.0})


@pytest.mark.parametrize("windows", [[], [window(**{"cores watched": None})], [window(**{"cores watched": 0.3})]])
def test_nobody_looked_or_not_for_long_enough(windows: list[Window]) -> None:
    assert host(METERS, windows) is None


def test_one_line_says_what_matters() -> None:
    record = with_host(page_cache=(Residency(0.25, 1, 1, 5), Residency(1.0, 1, 1, 5)))
    assert line(record) == ("3.00 of 4 cores busy (the job 2.50), 0.05 stolen, storage 2 MB/s (page cache at the "
                            "start: 25 %), lo 1.5 MB/s, 1.50 instructions/cycle at 3.00 GHz")
    assert "about 1.50 instr" in line(with_host(**{"workers uncounted": 1.0}))
    less = {"lo received": 0.0, "lo sent": None, "workers cycles": None, "job read from storage": 9.0}
    assert line(with_host(**less)) == "3.00 of 4 cores busy (the job 2.50), 0.05 stolen"
    rows = [(7, with_host()), (8, fabricated.finished(fabricated.job()))]
    assert to_text(hosts(rows), 60) == (
        "\nHost, during the windows:\n 7 3.00 of 4 cores busy (the job 2.50), 0.05 stolen, storage\n"
        "   2 MB/s, lo 1.5 MB/s, 1.50 instructions/cycle at 3.00 GHz\n"), "nothing is known of the other"
    assert not list(hosts([(1, fabricated.finished(fabricated.job()))])), "nothing is known"


def with_host(page_cache: tuple[Residency, ...] = (), **less: Any) -> Any:
    record = fabricated.finished(fabricated.job())
    return dataclasses.replace(record, host=host(METERS, [window(**less)], [window(**less)]), page_cache=page_cache)


def test_what_was_altered_is_found_when_it_is_read_again() -> None:
    job = fabricated.job()
    ranks = [dataclasses.replace(rank, meters=tuple(METERS), windows=tuple(
        dataclasses.replace(one, counted=COUNTED) for one in rank.windows)) for rank in fabricated.ranks(job)]
    record = fabricated.finished(job, ranks)
    assert record.host and record.host.cores_busy == 3.0
    assert recomputed(record) == record
    again = recomputed(dataclasses.replace(record, host=dataclasses.replace(record.host, cores_busy=1.0)))
    assert again.host == record.host
    assert [caveat.values["field"] for caveat in again.warnings if caveat.kind == "altered"] == ["host.cores_busy"]
