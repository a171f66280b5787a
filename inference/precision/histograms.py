"""What activations hold over many samples: one histogram per tensor, in one pass, in bounded memory.

A histogram is signed and covers [-limit, limit), where limit is a power of two; bins are therefore a power of two
wide, and finding a value's bin is exact. When a larger value comes, limit doubles and bins merge in pairs: no count is
lost, and the result does not depend on the order or the size of batches, to the last bit.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcompare.core.errors import JobError, UsageError
from dlcompare.core.files import whole
from dlcompare.core.json_file import parse_json

if TYPE_CHECKING:
    import onnx

    from dlcompare.core.plugins.backend import Arrays

BINS = 4096
CHUNK = 1 << 15  # values; what is made of them on the way fits a core's own cache
SMALLEST = 2.0**-100  # the least limit: bins of it are still normal float32 numbers
FORMAT = 1
MOST_BYTES = 1 << 30  # of a calibration, unpacked: a thousand tensors have 50 MB
SHOWN = 20  # sample ids named in an error


@dataclass(frozen=True)
class Observed:
    """What one tensor held: ``counts`` of bins of equal width over [-limit, limit), and per channel the largest
    magnitude. Channels are axis 1, the last axis for a tensor of three (a sequence of feature vectors)."""

    counts: np.ndarray
    limit: float
    low: float
    high: float
    channels: np.ndarray

    @property
    def count(self) -> int:
        """Return how many values were seen."""
        return int(self.counts.sum())


@dataclass(frozen=True)
class Artifact:
    """What calibration leaves: the tensors' observations, and in ``meta`` of which network on which samples.

    ``meta`` is JSON: ``sha256`` of the network, ``data``, ``train`` (the split), ``samples`` (ids), ``seed`` and what
    else the collecting job wrote; :meth:`Collector.artifact` adds ``samples_sha256`` and ``number`` of samples.
    """

    tensors: Mapping[str, Observed]
    meta: Mapping[str, Any]

    def save(self, path: str | Path) -> None:
        """Write everything to one .npz file, whole or not at all."""
        path, seen = Path(path), list(self.tensors.values())
        about = {"format": FORMAT, "tensors": list(self.tensors), "meta": dict(self.meta)}
        with whole(path) as part, part.open("wb") as file:
            np.savez_compressed(
                file, about=np.frombuffer(json.dumps(about, allow_nan=False).encode(), np.uint8),
                counts=np.stack([one.counts for one in seen]) if seen else np.zeros((0, 0), np.int64),
                bounds=np.array([(one.limit, one.low, one.high) for one in seen], np.float64).reshape(-1, 3),
                widths=np.array([len(one.channels) for one in seen], np.int64),
                channels=np.concatenate([np.zeros(0, np.float32), *(one.channels for one in seen)]))

    @classmethod
    def load(cls, path: str | Path, *, sha256: str | None = None) -> Artifact:
        """Return what :meth:`save` wrote.

        Raises:
            UsageError: there is no such file, it is damaged or no calibration, or ``sha256`` is given and the
                calibration is that of another network.
        """
        try:
            found = read(Path(path))
        except Exception as error:  # a damaged archive can raise anything
            raise UsageError(f"{str(path)!r} is not a calibration that can be read ({error}); give one that "
                             "dlcompare wrote (calibration.npz), or calibrate again without --calibration") from error
        if sha256 is not None and found.meta.get("sha256") != sha256:
            raise UsageError(f"{str(path)!r} is the calibration of another network "
                             f"({str(found.meta.get('sha256'))[:12]}), "
                             f"not of this one ({sha256[:12]}); ranges are right only for the parameters they were "
                             "collected with. Give this network's calibration, or calibrate again")
        return found


def read(path: Path) -> Artifact:
    """Return what a file holds; any exception if it is none of ours. Nothing is unpacked that is far too large."""
    with path.open("rb") as raw, zipfile.ZipFile(raw) as archive, np.load(raw, allow_pickle=False) as file:
        if (size := sum(info.file_size for info in archive.infolist())) > MOST_BYTES:
            raise ValueError(f"unpacked it has {size >> 20} MiB, and at most {MOST_BYTES >> 20} are read")
        about = parse_json(file["about"].tobytes(), name="its description", what="one of a calibration")
        counts, bounds, widths, channels = (file[key] for key in ("counts", "bounds", "widths", "channels"))
    if about["format"] != FORMAT:
        raise ValueError(f"its format is {about['format']}, not {FORMAT}")
    names, meta, number = about["tensors"], about["meta"], len(counts)
    counted = all(one.dtype.kind == "i" and one.min(initial=0) >= 0 for one in (counts, widths))
    shapes = (len(names), counts.ndim, bounds.shape, widths.shape, channels.shape)
    if not counted or shapes != (number, 2, (number, 3), (number,), (widths.sum(),)) \
            or not np.isfinite(bounds).all() or not isinstance(meta, dict):
        raise ValueError("its arrays do not belong together")
    cuts = np.split(channels, np.cumsum(widths)[:-1])
    return Artifact({str(name): Observed(row, float(limit), float(low), float(high), cut)
                     for name, row, (limit, low, high), cut in zip(names, counts, bounds, cuts, strict=False)}, meta)


class Collector:
    """Observes tensors batch by batch; batches may have any length."""

    def __init__(self, tensors: Iterable[str], bins: int = BINS) -> None:
        if bins < 4 or bins % 4:
            raise ValueError(f"bins must be a multiple of 4, so that they merge in pairs about zero, not {bins}")
        self._running = {name: _Running(bins) for name in tensors}

    def add(self, batch: Arrays, *, samples: Sequence[int]) -> None:
        """Observe one batch: tensor name -> values, which may hold more than is looked at.

        Raises:
            JobError: a tensor is missing, or holds NaN or infinity; names it and the samples.
        """
        for name, running in self._running.items():
            if name not in batch:
                raise JobError(f"the engine returned no tensor {name!r}; what it returned: {', '.join(sorted(batch))}. "
                               "Calibrate with the network that instrument() made for these tensors")
            values = np.ascontiguousarray(batch[name], dtype=np.float32)
            if not running.add(values):
                raise JobError(not_finite(name, values, samples))

    def artifact(self, meta: Mapping[str, Any]) -> Artifact:
        """Return what has been observed so far."""
        from .samples import ids_sha256

        ids = list(meta.get("samples", ()))
        return Artifact({name: one.result() for name, one in self._running.items()},
                        {**meta, "samples_sha256": ids_sha256(ids), "number": len(ids)})


def not_finite(name: str, values: np.ndarray, samples: Sequence[int]) -> str:
    """Return the complaint about a tensor that holds NaN or infinity."""
    ids = ", ".join(map(str, samples[:SHOWN])) + (", ..." if len(samples) > SHOWN else "")
    nan, infinite = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    return (f"tensor {name!r} holds {nan} NaN and {infinite} infinite values in the batch of samples {ids}; "
            "calibration needs finite activations. Look at these samples and at the network's parameters: FP32 itself "
            "is broken there")


class _Running:
    """The observation of one tensor as it grows."""

    def __init__(self, bins: int) -> None:
        self.counts = np.zeros(bins, np.int64)
        self.limit = SMALLEST
        self.low, self.high = math.inf, -math.inf
        self.channels: np.ndarray | None = None

    def add(self, values: np.ndarray) -> bool:
        """Count values; False, and nothing counted, if not all are finite."""
        if not values.size:
            return True
        low, high = extremes(values)
        channels = np.maximum(high, -low)
        top = float(channels.max())
        if not math.isfinite(top):
            return False
        self.low, self.high = min(self.low, float(low.min())), max(self.high, float(high.max()))
        self.channels = channels if self.channels is None else np.maximum(self.channels, channels)
        while self.limit <= top:
            self.double()
        count(values.reshape(-1), self.counts, self.limit)
        return True

    def double(self) -> None:
        """Cover twice the range with bins of twice the width."""
        bins = len(self.counts)
        merged = self.counts.reshape(-1, 2).sum(axis=1)
        self.counts = np.zeros(bins, np.int64)
        self.counts[bins // 4:bins // 4 * 3] = merged
        self.limit *= 2

    def result(self) -> Observed:
        seen = self.channels is not None
        return Observed(self.counts.copy(), self.limit, self.low if seen else 0.0, self.high if seen else 0.0,
                        self.channels if self.channels is not None else np.zeros(0, np.float32))


def extremes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest and the largest value of each channel; NaN where there is one."""
    if values.ndim in (0, 1, 3):
        rows = values.reshape(-1, values.shape[-1] if values.ndim == 3 else 1)
        return rows.min(axis=0), rows.max(axis=0)
    if values.ndim == 2:
        return values.min(axis=0), values.max(axis=0)
    planes = values.reshape(*values.shape[:2], -1)
    return planes.min(axis=2).min(axis=0), planes.max(axis=2).max(axis=0)


def count(values: np.ndarray, counts: np.ndarray, limit: float) -> None:
    """Add to each bin how many values fall into it; all are within the limit."""
    half = len(counts) // 2
    scale = np.float32(half / limit)  # a power of two: floor of the product is exact, unless that comes to zero
    scaled, index = np.empty(CHUNK, np.float32), np.empty(CHUNK, np.intp)
    for begin in range(0, len(values), CHUNK):
        piece = values[begin:begin + CHUNK]
        bins, where = scaled[:len(piece)], index[:len(piece)]
        np.multiply(piece, scale, out=bins)
        np.floor(bins, out=bins)
        if scale < 1:  # of the smallest negative numbers the product is -0, which is in the bin above theirs
            np.subtract(bins, (piece < 0) > (bins < 0), out=bins)
        np.add(bins, half, out=where, casting="unsafe")
        counts += np.bincount(where, minlength=len(counts))


def instrument(model: onnx.ModelProto, tensors: Iterable[str]) -> onnx.ModelProto:
    """Return the model with these tensors among its outputs, shapes left to the engine."""
    from onnx import TensorProto, helper

    watched = type(model)()
    watched.CopyFrom(model)
    there = {value.name for value in watched.graph.output}
    made = {name for node in watched.graph.node for name in node.output} | {v.name for v in watched.graph.input}
    for name in tensors:
        if name not in made:
            raise UsageError(f"there is no tensor {name!r} in {watched.graph.name!r}; activation_tensors() tells which "
                             "can be observed")
        if name not in there:
            watched.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return watched
