"""Reads data by a framework's own pipeline: FRAMEWORK DATA [RANK WORLD]. Prints what came as JSON."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from typing import Any

import numpy as np

from dlcompare.core.data.images.dataset import normalise
from dlcompare.core.data.images.decode import view_of
from dlcompare.core.data.stream import Source, source_of
from dlcompare.core.data.view import STD
from dlcompare.core.errors import JobError
from dlcompare.core.graph import Input
from dlcompare.core.plugins.registry import plugins

INPUTS = {"image": Input((3, 56, 56)), "label": Input((), "int64", "label", 10)}


def opened(framework: str, source: Source) -> Any:
    return closing(plugins().backend(framework).pipeline(source))


def probe(framework: str, data: str, rank: str = "0", world: str = "1") -> dict[str, Any]:
    """Return rows and labels of two epochs of training, and how far evaluation's pixels are from the neutral ones."""
    source = source_of(data, INPUTS, batch=4, loaders=2, seed=5, rank=int(rank), world=int(world))
    found: dict[str, Any] = {"rows": [], "labels": [], "steps": source.steps}
    try:
        with opened(framework, source) as stream:
            for number in (0, 1, 0):
                drawn = list(stream.epoch(number))
                found["rows"].append([int(row) for one in drawn for row in one.rows])
                found["labels"].append([int(label) for one in drawn for label in one.batch["label"]])
                found["first"] = [str(drawn[0].batch["image"].dtype), list(drawn[0].batch["image"].shape),
                                  str(drawn[0].batch["label"].dtype)]
    except JobError as error:
        return {"error": str(error)}
    apart = []
    with opened(framework, source_of(data, INPUTS, batch=4, loaders=1, train=False)) as stream:
        for rows, batch in stream.epoch(0):
            ours = np.stack([view_of(source_of(data, INPUTS, batch=4, loaders=1, train=False).found.place(int(row)),
                                     int(row), size=(56, 56), seed=0, epoch=0, train=False) for row in rows])
            scale = 255 * np.array(STD, np.float32)[:, None, None]
            apart.append(np.abs(normalise(ours) - batch["image"]) * scale)
    return {**found, "apart": float(np.mean(apart)), "most": float(np.max(apart))}


if __name__ == "__main__":
    print(json.dumps(probe(*sys.argv[1:])))
