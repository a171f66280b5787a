"""The networks of the cases of recurrent layers: two layers, for what the first hands on must be read to be held."""

from __future__ import annotations

from dlcompare.core.graph import Input
from dlcompare.core.graph.ops import Tensor

UNITS, LENGTH = 6, 5
LENGTHS = {"lengths": Input((), "int64", "length", LENGTH + 1)}


CARRIED = {name: Input((UNITS,), role="carried", follows=f"next_{name}") for name in "hc"}


def carried(x: Tensor, h: Tensor, c: Tensor) -> Tensor:
    return x.lstm(UNITS, state=(h, c), name="lstm")


def lstm_state(x: Tensor) -> Tensor:
    y = x.lstm(UNITS, name="lstm")
    return y.lstm(UNITS, state=(y.result("h"), y.result("c")), name="again")


def lstm_lengths(x: Tensor, lengths: Tensor) -> Tensor:
    y = x.lstm(UNITS, lengths=lengths, name="lstm")
    return y.lstm(UNITS, state=(y.result("h"), y.result("h")), lengths=lengths, name="again")


def gru(x: Tensor) -> Tensor:
    y = x.gru(UNITS, name="gru")
    return y.gru(UNITS, state=y.result("h"), name="again")


def gru_lengths(x: Tensor, lengths: Tensor) -> Tensor:
    y = x.gru(UNITS, lengths=lengths, reverse=True, name="gru")
    return y.gru(UNITS, state=y.result("h"), lengths=lengths, name="again")


def lstm_reverse(x: Tensor, lengths: Tensor) -> Tensor:
    """Backwards by lengths, then the whole sequence backwards."""
    y = x.lstm(UNITS, lengths=lengths, reverse=True, name="lstm")
    return y.lstm(UNITS, state=(y.result("h"), y.result("h")), reverse=True, name="again")
