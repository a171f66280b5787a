"""Training until the test split is answered well enough, and how long that took."""

from __future__ import annotations

from dlcompare.core import hookimpl
from dlcompare.core.kinds.kind import Kind
from dlcompare.core.kinds.training import Proving


class TimeToAccuracy(Proving):
    """The same network trained to the same accuracy under several frameworks."""

    name = "time_to_accuracy"
    title = "time to train a network to an accuracy"
    selected_by = ("target",)
    refused = ("steps", "windows")
    room = 1 << 20  # half a day of windows of 20 s, for its job does not say how many there will be


@hookimpl
def dlcompare_kinds() -> list[Kind]:
    return [TimeToAccuracy()]
