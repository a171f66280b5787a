"""What nccl-tests wrote with ``-J FILE``, read to stand beside our own numbers. Of its ``env`` NCCL's variables alone.

The format (version 3, ``src/util.cu``): times in microseconds, bandwidths in GB/s, booleans as the strings "true" and
"false", NaN as the string "nan"; where FILE exists it writes FILE.0, FILE.1 and so on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlcompare.core.errors import UsageError
from dlcompare.core.json_file import read_json
from dlcompare.core.plugins.collectives import COLLECTIVES

WHAT = "a file that nccl-tests wrote with -J"
VERSIONS = (3,)
WAYS = {"out_of_place": False, "in_place": True}


@dataclass(frozen=True)
class Row:
    """One size of another program: bytes, seconds, bandwidths in bytes a second, None where it said NaN or nothing.

    ``wrong``: values that it found to be wrong; None if it did not look.
    """

    size: int
    in_place: bool
    seconds: float | None
    algorithm_bandwidth: float | None
    bus_bandwidth: float | None
    wrong: int | None


@dataclass(frozen=True)
class Foreign:
    """What another program measured: its file, collective, ranks, devices and NCCL's variables."""

    file: str
    collective: str
    ranks: int
    devices: tuple[str, ...]
    version: str
    variables: dict[str, str]
    rows: tuple[Row, ...]


def read_all(names: Sequence[str]) -> list[Foreign]:
    """Return what files hold, FILE.0, FILE.1 ... included where FILE itself is named; UsageError if one is none."""
    return [foreign(one) for name in names for one in files(Path(name).expanduser())]


def files(path: Path) -> Iterator[Path]:
    """Yield a file and those that nccl-tests numbered after it."""
    numbered = sorted((one for one in path.parent.glob(f"{path.name}.*") if one.suffix[1:].isdigit()),
                      key=lambda one: int(one.suffix[1:]))
    if path.exists() or not numbered:  # a missing file is read_json's to tell
        yield path
    yield from numbered


def foreign(path: Path) -> Foreign:
    """Return what one file holds; UsageError if nccl-tests did not write it, or in a form that is not known."""
    data = read_json(path, what=WHAT)
    if not isinstance(data, Mapping) or "results" not in data or "config" not in data:
        raise UsageError(f"{path} is not {WHAT}: it lacks config and results")
    if data.get("version") not in VERSIONS:
        raise UsageError(f"{path} has nccl-tests' format {data.get('version')!r}; known is "
                         f"{', '.join(map(str, VERSIONS))}. Write it again with a version of nccl-tests that has that")
    try:
        return Foreign(str(path), collective(data, path), len(data["devices"]),
                       tuple(dict.fromkeys(device(one) for one in data["devices"])), nccl_version(data),
                       variables(data.get("env", [])), tuple(rows(data["results"])))
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
        raise UsageError(f"{path} is not {WHAT}: {type(error).__name__}: {error}") from error


def collective(data: Mapping[str, Any], path: Path) -> str:
    """Return which collective was run, as its program's name tells: all_reduce_perf."""
    program = Path(str(data["args"][0])).name.removesuffix("_perf")
    if program not in COLLECTIVES:
        raise UsageError(f"{path} is of nccl-tests' {program}; compared are {', '.join(COLLECTIVES)}")
    return program


def device(one: Mapping[str, Any]) -> str:
    """Return a device's name."""
    return str(one.get("device_info") or f"device {one.get('device')}")


def nccl_version(data: Mapping[str, Any]) -> str:
    """Return NCCL's version in the usual form: 22703 is 2.27.3."""
    number = int(data["nccl_version"])
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


def variables(env: Any) -> dict[str, str]:
    """Return NCCL's own variables of the whole environment that the file holds, secrets and all."""
    pairs = env.items() if isinstance(env, Mapping) else (str(one).split("=", 1) for one in env if "=" in str(one))
    return {str(name): str(value) for name, value in pairs if re.match(r"NCCL_", str(name))}


def rows(results: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """Yield the sizes of a file, each out of place and in place where it has both."""
    for one in results:
        for key, in_place in WAYS.items():
            if key in one:
                found = one[key]
                micros, algorithm, bus = (value(found.get(name)) for name in (
                    "time" if "time" in found else "cpu_time", "alg_bw", "bus_bw"))
                wrong = value(found.get("nwrong"))
                yield Row(int(one["size"]), in_place, scaled(micros, 1e-6), scaled(algorithm, 1e9), scaled(bus, 1e9),
                          None if wrong is None else int(wrong))


def scaled(number: float | None, unit: float) -> float | None:
    """Return a number in our units."""
    return None if number is None else number * unit


def value(written: Any) -> float | None:
    """Return a number, None for null and for NaN, which the file has as text."""
    number = None if written is None else float(written)
    return None if number is None or math.isnan(number) else number
