"""Gloo, for the backends whose collectives call it: what it was seen to do wrongly.

No plug-in by itself.
"""

from __future__ import annotations

from dlcompare.core.plugins.collectives import REDUCE_SCATTER, CollectiveJob

WRONG_FROM = 16 << 20  # bytes; see docs/comm.md


def refuse_wrong(job: CollectiveJob, *, call: str, size: int | None) -> str | None:
    """Return why a size is not measured: ranks but the first may overwrite what of it is not sent yet."""
    if job.collective != REDUCE_SCATTER or job.device != "cpu" or (size or 0) < WRONG_FROM:
        return None
    return (f"{call} calls Gloo's ReduceScatterHalvingDoubling between CPU processes, which returned wrong values now "
            "and then from 16 MiB on (1 call of 20 to 120, at the end of rank 0's part): not measured. Use smaller "
            "--sizes")
