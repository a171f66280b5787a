"""The operators of published tables (Wang et al. 2020, Table 4) by the names that are used here: ``matmul-I`` ..."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

from dlcompare.core.errors import UsageError

TABLE = "wang2020_table4_operators"
MATMUL = re.compile(r"N=(\d+)")
CONV = re.compile(r"F\(([\d;]+)\) K\(([\d;]+)\) S\((\d+);\d+\)")


@functools.cache
def operators() -> Mapping[str, str]:
    """Return the published operators, in full, by name. The convolutions have no padding: so their FLOPs come out."""
    from dlcompare.core.published.tables import table  # late: it reads CSV files, and starting must be quick

    return {f"{row['operator']}-{row['size']}": in_full(row["shape"]) for row in table(TABLE).rows}


def in_full(shape: str) -> str:
    """Return an operator as it is named here from the shape that is printed."""
    if found := MATMUL.fullmatch(shape):
        return f"matmul:{found[1]}"
    if found := CONV.fullmatch(shape):
        return f"conv2d:{found[1].replace(';', 'x')}:{found[2].replace(';', 'x')}:{found[3]}"
    raise UsageError(f"the published shape {shape!r} is none that can be read")


def in_words(name: str) -> str:
    """Return an operator's name in full, where it is one of the published; else as it is."""
    return operators().get(name, name)
