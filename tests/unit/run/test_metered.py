"""What was read beside a job in its record: whose devices those were, hot starts, and a file that is damaged."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from boards import Board, Clock, job, record

from dlcompare.core.launch import sampling
from dlcompare.core.meters.meter import Metered
from dlcompare.core.records.recompute import recomputed
from dlcompare.core.records.record import Record, Window
from dlcompare.core.reports.words import sentence
from dlcompare.core.run.metered import used, with_meters
from dlcompare.core.typed_json import from_plain, to_plain

UUIDS = [f"GPU-0000000{number}-aaaa-bbbb-cccc-dddddddddddd" for number in range(2)]


def boards(tmp_path: Path, **traits: Any) -> Metered:
    clock = Clock()
    return record(Board(**{"load": job(3, 11), "clock": clock, **traits}), clock, tmp_path / "recording.jsonl",
                  seconds=14.0)


def measured(**more: Any) -> Record:
    windows = tuple(Window(steps=1, samples=100, seconds=(2.0,), started=0.0, clock=4.0 + 2 * n) for n in range(3))
    return Record(**{"status": "ok", "id": "job", "run": "run", "started": "2026-11-30T00:00:00+00:00",
                     "framework": "any", "job": {}, "reproduce": "", "windows": windows, **more})


@pytest.mark.parametrize(("ranks", "devices", "caveat"), [
    ([(UUIDS[0],), (UUIDS[1],)], (("gpu 0",), ("gpu 1",)), None),
    ([(UUIDS[1].removeprefix("GPU-").upper(),)], (("gpu 1",),), None),
    ([("0000:1C:00.0",)], (("gpu 1",),), None),
    ([(UUIDS[0], "00000000:1c:00.0")], (("gpu 0", "gpu 1"),), None),
    ([(UUIDS[0],), None], (), "devices unknown"),
    ([None], (), "devices unknown"),
    ([(UUIDS[0],), ("GPU-ffffffff",)], (), "devices unmetered"),
    ([(UUIDS[0],), ("MIG-01111110-aaaa-bbbb-cccc-dddddddddddd",)], (("gpu 0",), ("gpu 0",)), "part of a GPU"),
    ([()], ((),), None)])
def test_devices_are_found_by_the_names_that_ranks_give(tmp_path: Path, ranks: Any, devices: Any,
                                                        caveat: str | None) -> None:
    parts = 2 if caveat == "part of a GPU" else 0
    found, caveats = used([boards(tmp_path, count=2, parts=parts)], ranks)
    assert (found, [one.kind for one in caveats]) == (devices, [caveat] if caveat else [])
    assert all(sentence(one) and "{" not in sentence(one) for one in caveats)


def test_of_one_gpu_there_is_no_doubt(tmp_path: Path) -> None:
    assert used([boards(tmp_path)], [None]) == ((("gpu 0",),), [])
    assert used([boards(tmp_path)], [None, None])[0] == (), "two processes may share it, or have one elsewhere"


@pytest.fixture
def lay(tmp_path: Path) -> Callable[..., Path]:
    """Return what lays a sampler's file for readings of boards."""
    def make(name: str = "job", *, whole: bool = True, **traits: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        metered = boards(folder, **traits)
        bare = to_plain(dataclasses.replace(metered, series=()))
        times = sorted({time for one in metered.series for time in one.times})
        lines: list[Any] = [{"meters": [{**bare, "absent": {}}]}]
        for time in times:
            values = [next(v for t, v in reversed(list(zip(one.times, one.values, strict=True))) if t <= time)
                      for one in metered.series]
            lines.append([metered.series[0].begin + time / 1000, 0, values])
        lines += [{"meters": [bare]}] * whole
        (folder / "meters.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return folder

    return make


def test_a_record_gets_its_energy_and_names_no_hardware(lay: Callable[..., Path]) -> None:
    found = with_meters(measured(), [SimpleNamespace(devices=(UUIDS[0],))], lay())
    assert [one.scope for one in found.energy] == ["gpu 0"] and found.devices == (("gpu 0",),)
    assert found.energy[0].per_sample == pytest.approx(6.4, rel=0.02)
    text = found.to_json()
    assert UUIDS[0] not in text and "1b:00.0" not in text.lower(), "published records tell no machine from another"
    again = from_plain(Record, json.loads(text), what="record")
    assert again.meters == found.meters and again.derived(again.windows)["energy"] == found.energy


def test_a_job_that_is_not_timed_is_a_record_without_doubts(lay: Callable[..., Path]) -> None:
    for ranks in ([SimpleNamespace(devices=(UUIDS[0],))], [SimpleNamespace()]):
        found = with_meters(measured(windows=()), ranks, lay(f"of-{len(vars(ranks[0]))}", count=2))
        assert (found.status, found.energy, found.warnings) == ("ok", (), ())


def test_joules_that_the_series_do_not_give_are_seen(lay: Callable[..., Path]) -> None:
    found = with_meters(measured(), [SimpleNamespace(devices=(UUIDS[0],))], lay())
    found = dataclasses.replace(found, **found.derived(found.windows))
    same = recomputed(from_plain(Record, json.loads(found.to_json()), what="record"))
    assert not [one for one in same.warnings if one.kind == "altered"]
    (spent,) = found.energy
    better = recomputed(dataclasses.replace(found, energy=(dataclasses.replace(spent, per_sample=3.0),)))
    (caveat,) = [one for one in better.warnings if one.kind == "altered"]
    assert (caveat.values["field"], caveat.values["written"]) == ("energy[0].per_sample", 3.0)
    assert better.energy == found.energy


def test_a_device_that_begins_hot_is_warned_of(lay: Callable[..., Path]) -> None:
    ranks = [SimpleNamespace(devices=(UUIDS[0],))]
    first = with_meters(measured(), ranks, lay("cool"))
    second = with_meters(measured(), ranks, lay("hot", load=lambda now: 320.0), [first])
    kinds = [one.kind for one in second.warnings]
    assert "hot start" in kinds and "hot start" not in [one.kind for one in first.warnings]
    words = next(sentence(one) for one in second.warnings if one.kind == "hot start")
    assert words.startswith("gpu 0 began at 47 degC, and at 34 degC where it was coolest")


def test_a_sampler_that_ended_midway_is_told_of(lay: Callable[..., Path]) -> None:
    folder = lay(whole=False)
    with (folder / "meters.jsonl").open("a") as file:
        file.write('[1.0, 0, [1')
    (read,) = sampling.read(folder / "meters.jsonl")
    assert read.lost == "the process that samples meters ended midway"
    found = with_meters(measured(), [SimpleNamespace(devices=(UUIDS[0],))], folder)
    assert found.energy and "meter lost" in [one.kind for one in found.warnings], "what it read before counts"


@pytest.mark.parametrize("text", ["", "nonsense", '{"meters": [{"name": 3}]}', '{"meters": []}\n[1, 2]', "[]"])
def test_a_damaged_file_costs_a_caveat_and_no_record(tmp_path: Path, text: str) -> None:
    (tmp_path / "meters.jsonl").write_text(text)
    found = with_meters(measured(), [SimpleNamespace(devices=())], tmp_path)
    assert found.status == "ok" and found.energy == ()


def test_without_a_sampler_a_record_stays_as_it_is(tmp_path: Path) -> None:
    assert with_meters(measured(), [], tmp_path) == measured()
