"""Decoded images as arrays in one file, for ``--data arrays:FILE``: the evaluation view, normalised, in float32."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dlcompare.core.data.images.dataset import normalise
from dlcompare.core.data.images.decode import read
from dlcompare.core.data.images.listing import Listing
from dlcompare.core.data.images.pixels import why
from dlcompare.core.errors import UsageError

from .index import ids_sha256


def write_arrays(found: Listing, path: Path, side: int, one_more: Callable[[], None]) -> dict[str, Any]:
    """Write a split's images (n, 3, side, side), labels and names to a .npz, an image in memory at a time; return what
    a manifest says of it.

    Raises:
        UsageError: an image cannot be decoded.
    """
    count = len(found.names)
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        with archive.open("image.npy", "w", force_zip64=True) as file:
            head(file, (count, 3, side, side), np.dtype("<f4"))
            for row in range(count):
                file.write(normalise(decoded(found, row, side)[None])[0].astype("<f4").tobytes())
                one_more()
        for name, values in (("label", np.array(found.labels, "<i8")),
                             ("name", np.array([name.encode(errors="surrogateescape") for name in found.names]))):
            with archive.open(f"{name}.npy", "w") as file:
                head(file, values.shape, values.dtype)
                file.write(values.tobytes())
    return {"samples": count, "ids_sha256": ids_sha256(found.names, found.labels), "image_size": side,
            "shards": [{"file": path.name, "bytes": path.stat().st_size, "samples": count}]}


def decoded(found: Listing, row: int, side: int) -> np.ndarray:
    try:
        return read(found.place(row), size=(side, side), draws=None)
    except Exception as problem:  # Pillow's decoders raise nearly anything for a broken file
        raise UsageError(f"cannot decode {found.place(row)}: {why(problem)}. Repair or remove it; the other formats "
                         "keep files as they are") from problem


def head(file: Any, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Write what a .npy file begins with."""
    np.lib.format.write_array_header_1_0(
        file, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape})
