"""How much of their tolerance frameworks use up: error over allowed of every check in some certificates.

    python tests/benchmarks/tolerances.py [CERTIFICATE.json ...] [--out FILE]

Without files it reads all that are kept here. A tolerance that nobody comes near is too loose to catch much; one that
right frameworks nearly use up will call one of them wrong some day. Prints a histogram for each framework, with the
checks that came closest, and writes the counts.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dlcompare.core.conformance.certificate import kept

EDGES = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, math.inf)
CLOSEST, WIDTH = 3, 50


def shares(certificates: Iterable[dict[str, Any]]) -> dict[str, list[tuple[float, str]]]:
    """Return by framework the share of its tolerance that each check used up, with what was checked."""
    found: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for one in certificates:
        for check in one["checks"]:
            if check["quantity"] != "clock":
                used = math.inf if check["error"] is None else check["error"] / check["allowed"]
                what = f"{one['model']}, {one['precision']}, {one['workers']} worker(s): {check['quantity']}"
                found[one["framework"]].append((used, what if check["case"] == one["model"] else
                                                f"{check['case']}: {check['quantity']}"))
    return dict(found)


def histogram(used: Iterable[float]) -> list[int]:
    """Return how many shares lie between two edges each."""
    counts = [0] * (len(EDGES) - 1)
    for share in used:
        counts[next(i for i, edge in enumerate(EDGES[1:]) if share <= edge)] += 1
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("certificates", nargs="*", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    paths = args.certificates or sorted(kept().glob("*.json"))
    found = shares(json.loads(path.read_text()) for path in paths)
    for framework, checks in sorted(found.items()):
        counts = histogram(used for used, _ in checks)
        print(f"\n{framework}: {len(checks)} checks, error / allowed")
        for low, high, count in zip(EDGES, EDGES[1:], counts, strict=False):
            print(f"  {low:5g} to {high:<5g} {count:6}  {'#' * math.ceil(WIDTH * count / max(counts))}")
        for used, what in sorted(checks, reverse=True)[:CLOSEST]:
            print(f"  {used:.3f}  {what}")
    if args.out:
        plain = {name: {"counts": histogram(used for used, _ in checks),
                        "closest": [[used, what] for used, what in sorted(checks, reverse=True)[:CLOSEST]]}
                 for name, checks in sorted(found.items())}
        args.out.write_text(json.dumps({"edges": [str(edge) for edge in EDGES], "certificates": [p.name for p in paths],
                                        "frameworks": plain}, indent=1) + "\n")


if __name__ == "__main__":
    main()
