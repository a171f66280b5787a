"""A framework against itself: how often a verdict sees a difference where there is none, and how small a one it could.

    python tests/benchmarks/self_comparison.py OUT.jsonl [--times 30] [--rounds 3] [--steps 4] [--framework pytorch-ddp]

Each time the same framework runs as two sides, once with windows that alternate and once one job after another, in
turn, so that both ways see the same machine. The sides differ by a setting that has no effect (``loaders``, for data
that need none). Every outcome is a line of OUT.jsonl: the verdict as it is given, and beside it the one that would be
without leaving out what was disturbed, for a machine that others use has nothing else to tell. At most 5 % of the
verdicts may be "faster" or "slower".
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from dlcompare.core.judging.judging import Judging
from dlcompare.core.judging.verdict import Verdict, compare
from dlcompare.core.records.record import Record
from dlcompare.core.run.stored import read

RUN = """
import sys
from dlcompare.core.kinds.training import Training
if {apart}:
    Training.together = lambda self, job: None
from dlcompare.core.cli.main import main
sys.argv = ["dlcompare", *{words!r}]
main()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    for name, default in (("times", 30), ("rounds", 3), ("windows", 5), ("steps", 4), ("batch", 32), ("workers", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--framework", default="pytorch-ddp")
    parser.add_argument("--model", default="resnet18", help="At 32 x 32 pixels, if it is this one.")
    parser.add_argument("--ways", default="windows,rounds", help="How rounds are interleaved, one or both.")
    asked = parser.parse_args()
    for _ in range(asked.times):
        for way in asked.ways.split(","):
            line = json.dumps({"way": way, **outcome(asked, apart=way == "rounds")})
            print(line, flush=True)
            with asked.out.open("a") as file:
                file.write(f"{line}\n")
    tell(asked.out)


def outcome(asked: argparse.Namespace, *, apart: bool) -> dict[str, Any]:
    """Return what one comparison came to."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["--framework", f"{asked.framework},{asked.framework}:loaders=3", "--model", asked.model,
                 *(("--image-size", "32") if asked.model == "resnet18" else ()), "--device", "cpu", "--verify", "off",
                 "--out", folder,
                 *(word for name in ("rounds", "windows", "steps", "batch", "workers")
                   for word in (f"--{name}", str(getattr(asked, name))))]
        begin = time.monotonic()
        subprocess.run([sys.executable, "-c", RUN.format(apart=apart, words=words)], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        took = time.monotonic() - begin
        records = read(next(Path(folder).iterdir()))
    return {"framework": asked.framework, "model": asked.model, "rounds": asked.rounds, "seconds": round(took, 1),
            "given": plain(verdict(records)),
            "all": plain(verdict([undisturbed(record) for record in records])),
            "waiting_cores": max(one.waiting_cores or 0.0 for record in records for one in record.windows),
            "foreign_cores": [round(one.foreign_cores or 0.0, 2) for record in records for one in record.windows],
            "rates": [[round(one.rate, 2) for one in record.windows] for record in records]}


def undisturbed(record: Record) -> Record:
    """Return a record of which every window counts."""
    windows = tuple(dataclasses.replace(one, discarded=None) for one in record.windows)
    return dataclasses.replace(record, disturbed=False, windows=windows, **record.derived(windows))


def verdict(records: list[Record]) -> Verdict:
    return compare(records, Judging())[0].verdicts[0]


def plain(found: Verdict) -> dict[str, Any]:
    """Return the part of a verdict that matters here."""
    return {"ratio": found.ratio, "word": found.word, "low": found.low, "high": found.high,
            "could_see": found.resolution}


def tell(out: Path) -> None:
    """Print how often which word was given, and what could be seen."""
    from statistics import median

    lines = [json.loads(line) for line in out.read_text().splitlines()]
    for way in dict.fromkeys(line["way"] for line in lines):
        found = [line["all"] for line in lines if line["way"] == way and line["all"]["word"]]
        wrong = sum(one["word"] in ("faster", "slower") for one in found)
        print(f"{way}: {len(found)} comparisons, {wrong} of them called different; could see "
              f"{100 * median(one['could_see'] for one in found):.1f} % (median), in "
              f"{median(line['seconds'] for line in lines if line['way'] == way):.0f} s")


if __name__ == "__main__":
    main()
