"""The raw result of an inference job and the record of a cell; all rooms of inference know them from ``cell``."""

from __future__ import annotations

from dlcompare.inference.cell.result import InferenceRecord, RankResult

RANK, RECORD = RankResult, InferenceRecord
