"""Fuzz all that reads files of others, guided by which lines of dlcompare an input reaches (atheris, libFuzzer).

    pip install atheris
    python tests/benchmarks/fuzz.py [READER ...] [--seconds 3600] [--out FILE]

The seconds are shared among the readers of tests/readers.py. A reader may return or raise one of our errors, in 20 s
and 2 GiB at most; each other exception is told once, with the file that brings it about. Ends with exit code 1 if there
was any. Without atheris (it is for CPython on Linux) tests/faults/test_fuzz.py does the same for a minute, unguided.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
LIMITS = ("-timeout=20", "-rss_limit_mb=2048", "-max_len=200000", "-print_final_stats=1")


def fuzz(name: str, seconds: int, folder: Path) -> dict[str, Any]:
    """Fuzz one reader in a process of its own; return how many inputs there were, and the faults."""
    from readers import READERS

    corpus = folder / "corpus"
    corpus.mkdir(parents=True)
    for number, sample in enumerate(READERS[name].samples()):
        (corpus / str(number)).write_bytes(sample)
    began = time.monotonic()
    ended = subprocess.run([sys.executable, __file__, "--within", name, str(folder), str(corpus), *LIMITS,
                            f"-artifact_prefix={folder}/", f"-max_total_time={seconds}"],
                           capture_output=True, text=True, errors="replace")
    executed = re.search(r"number_of_executed_units: (\d+)", ended.stderr)
    faults = [json.loads(line) for line in (folder / "faults.jsonl").read_text().splitlines()]
    if ended.returncode:
        faults.append({"error": ended.stderr[-500:], "input": str(next(folder.glob("*-*"), ""))})
    return {"reader": name, "inputs": int(executed[1]) if executed else None,
            "seconds": round(time.monotonic() - began), "faults": faults}


def within(name: str, folder: Path, arguments: list[str]) -> None:
    """Be the process that fuzzes; libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=["dlcompare", "readers"]):
        from readers import READERS
    reader, told, place = READERS[name], set[Any](), folder / "runs" / "x"
    place.mkdir(parents=True)
    for sample in reader.samples():
        with atheris.instrument_imports(include=["dlcompare"]):  # of what is imported when it is needed
            reader.survives(sample, place)

    def one(data: bytes) -> None:
        try:
            reader.survives(data, place)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            key = (type(error).__name__, where.filename, where.lineno)
            if key not in told:
                told.add(key)
                file = folder / f"fault-{len(told)}"
                file.write_bytes(data)
                with (folder / "faults.jsonl").open("a") as text:
                    print(json.dumps({"error": f"{key}: {error}"[:500], "input": str(file)}), file=text)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        chance = random.Random(seed)
        found = reader.damage(data, chance) if chance.random() < 0.7 else atheris.Mutate(data, most)
        return bytes(found[:most])

    (folder / "faults.jsonl").touch()
    atheris.Setup([name, *arguments], one, custom_mutator=mutate)
    atheris.Fuzz()


def main() -> None:
    from readers import READERS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"of {', '.join(READERS)}; all by default")
    parser.add_argument("--seconds", type=int, default=3600, help="in all")
    parser.add_argument("--out", type=Path, help="a JSON file for what was found")
    asked = parser.parse_args()
    names = asked.readers or list(READERS)
    folder, found = Path(tempfile.mkdtemp(prefix="fuzz-")), []
    for name in names:
        one = fuzz(name, asked.seconds // len(names), folder / name)
        print(f"{name}: {one['inputs']} inputs in {one['seconds']} s, {len(one['faults'])} faults", flush=True)
        for fault in one["faults"]:
            print(f"  {fault['error']}\n    {fault['input']}", flush=True)
        found.append(one)
        if asked.out:
            asked.out.write_text(json.dumps(found, indent=1) + "\n")
    if any(one["faults"] for one in found):
        sys.exit(1)
    shutil.rmtree(folder)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--within"]:
        within(sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
    else:
        main()
