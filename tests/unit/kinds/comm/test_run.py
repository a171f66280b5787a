"""`dlcompare comm` with real processes and no framework: records, refusals, wrong payloads, dead ranks, verdicts."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from running import offering

from dlcompare.core.kinds.comm.result import CommRecord
from dlcompare.core.typed_json import json_schema

WORDS = ("comm", "--framework", "star", "--sizes", "1K,4K,16K,30", "--size-seconds", "0.02", "--iterations", "12")


def comm(folder: Path, *words: str, code: int = 0, **variables: str) -> str:
    """Return what a command prints, its exit code being as expected."""
    done = subprocess.run([sys.executable, "-m", "dlcompare.core", *words], cwd=folder, text=True, capture_output=True,
                          timeout=120, env={**os.environ, **offering("star"), "COLUMNS": "120", **variables})
    assert done.returncode == code, done.stderr + done.stdout
    return done.stdout if code in (0, 1) else done.stderr


def records(folder: Path, *words: str, code: int = 0, **variables: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(comm(folder, *words, "--format", "json", code=code, **variables))
    return found


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """Return a folder, and the records of a run in it, of which one collective is refused."""
    folder = tmp_path_factory.mktemp("comm")
    return folder, records(folder, *WORDS, "--collective", "all_reduce,all_gather,reduce_scatter", code=1)


def test_every_size_has_times_of_every_call_and_what_follows(ran: tuple[Path, list[dict[str, Any]]]) -> None:
    _, (reduced, gathered, scattered) = ran
    for record in (reduced, gathered, scattered):
        jsonschema.validate(record, json_schema(CommRecord))
    assert (gathered["status"], reduced["status"], scattered["status"]) == ("refused", "ok", "ok")
    assert gathered["reason"] == "star has no all_gather; its engine offers all_reduce, broadcast, reduce_scatter"
    assert [(one["size"], one["asked"], one["in_place"]) for one in reduced["sizes"]] == [
        (size, asked, way) for size, asked in ((24, 30), (1024, 1024), (4096, 4096), (16384, 16384))
        for way in (False, True)]
    for record, factor in ((reduced, 1.0), (scattered, 0.5)):
        for one in record["sizes"]:
            assert 5 <= len(one["micros"]) <= 12 and one["warmup"] >= 3 and one["checked"] >= 5
            assert one["ended"] in ("calls", "seconds")
            figures = one["figures"]
            assert 0 < figures["least"] <= figures["low"] <= figures["median"] <= figures["high"] <= figures["p99"]
            assert figures["algorithm_bandwidth"] == pytest.approx(one["size"] / figures["median"])
            assert figures["bus_bandwidth"] == pytest.approx(factor * figures["algorithm_bandwidth"])
            assert min(one["micros"]) >= max(0, min(one["rank_micros"])) / 100
    assert [one["in_place"] for one in reduced["fits"]] == [False, True] and len(scattered["fits"]) == 1
    assert reduced["settings"]["own"] == {"engine": "star"} and reduced["how"] == "a socket of rank 0"
    assert "comm cut" in [one["kind"] for one in reduced["warnings"]]


def test_stored_records_are_shown_again_as_they_were(ran: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, found = ran
    (run,) = (folder / "runs").iterdir()
    assert json.loads(comm(folder, "report", str(run), "--format", "json")) == found
    table = comm(folder, "report", str(run))
    assert "all_reduce, 2 workers" in table and "star in place" in table and "us [" in table
    assert "star has no all_gather" in table and "such as 30 bytes as 24" in " ".join(table.split())
    rows = list(csv.DictReader(io.StringIO(comm(folder, "report", str(run), "--format", "csv"))))
    assert [row["collective"] for row in rows] == ["all_reduce"] * 8 + ["all_gather"] + ["reduce_scatter"] * 4
    assert float(rows[2]["bus_bandwidth_B_per_s"]) == found[0]["sizes"][2]["figures"]["bus_bandwidth"]
    assert rows[8]["status"] == "refused" and rows[8]["median_s"] == ""


def test_a_wrong_payload_fails_and_keeps_the_other_sizes(tmp_path: Path) -> None:
    (record,) = records(tmp_path, *WORDS, code=1, STAR="wrong:4096:1")
    assert record["status"] == "failed"
    wrong = [one for one in record["sizes"] if one["wrong"]]
    assert [(one["size"], one["in_place"]) for one in wrong] == [(4096, False), (4096, True)]
    found = wrong[0]["wrong"]
    assert (found["rank"], found["values"], found["position"]) == (1, 1, 5) and found["got"] == found["wanted"] + 1
    assert "wrong payload of all_reduce: 4K: rank 1 got 1 wrong value in call" in record["reason"]
    assert "at position 5" in record["reason"] and "Other sizes are kept" in record["reason"]
    assert [one["size"] for one in record["sizes"] if one["figures"]] == [24, 24, 1024, 1024, 16384, 16384]
    (run,) = (tmp_path / "runs").iterdir()
    table = comm(tmp_path, "report", str(run))
    assert table.count("WRONG") == 2 and len(re.findall(r"\d right", table)) == 6
    edited = tmp_path / "edited.json"  # is not believed
    edited.write_text(json.dumps([{**record, "status": "ok", "reason": None}]))
    (again,) = json.loads(comm(tmp_path, "report", str(edited), "--format", "json"))
    assert again["status"] == "failed" and "wrong payload" in again["reason"]


@pytest.mark.slow
def test_a_rank_that_dies_within_a_collective_ends_the_job(tmp_path: Path) -> None:
    (record,) = records(tmp_path, *WORDS, code=1, STAR="dies:4096:7")
    assert record["status"] == "failed" and "(rank 1) died" in record["reason"]


@pytest.mark.slow
def test_a_rank_that_hangs_within_a_collective_is_given_up(tmp_path: Path) -> None:
    (record,) = records(tmp_path, *WORDS, "--timeout", "15", code=1, STAR="hangs:4096:7")
    assert record["status"] == "failed" and "no sign of life for 15 s" in record["reason"]
    assert "'sizes'" in record["reason"]


def test_a_size_that_does_not_fit_is_refused_with_the_numbers(tmp_path: Path) -> None:
    (record,) = records(tmp_path, *WORDS[:4], "1K,512M", *WORDS[5:], code=1, DLCOMPARE_MEMORY=str(1 << 30))
    small, large = (one for one in record["sizes"] if not one["in_place"])
    assert record["status"] == "ok" and small["figures"] and not large["micros"]
    assert large["refused"] == ("512M takes about 2.00 GiB of each of 2 workers (payloads, result and what the engine "
                                "holds), and 0.90 GiB are free for it; up to 230.4M fit")


def test_rounds_give_a_verdict_for_each_size(tmp_path: Path) -> None:
    printed = comm(tmp_path, *WORDS[:4], "1K,1025,4K", *WORDS[5:], "--rounds", "2")
    for one in ("all_reduce of 1K, 2 workers", "all_reduce of 4K, in place, 2 workers"):
        assert one in printed
    assert "calls/s" in printed and "2 rounds, interleaved" in printed
    shown = re.findall(r"^1  star .* 2  ok", printed, re.MULTILINE)
    assert len(shown) == 4, "a size that two were cut to counts as further rounds"
