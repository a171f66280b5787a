"""Which activation tensors eight bits hurt most, told from what calibration observed: nothing is run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from dlcompare.inference.onnx.wiring import Wiring

from .histograms import Artifact
from .placement import Placement
from .ranges import step

if TYPE_CHECKING:
    import onnx


def ranking(artifact: Artifact, ranges: Mapping[str, tuple[float, float]], *,
            scheme: str = "u8s8") -> list[tuple[str, float]]:
    """Return the tensors with the mean error of their channels, worst first.

    A channel's error is the noise of rounding to the tensor's steps relative to the channel itself, both taken as even
    over their span, so (step / 2 / largest magnitude)^2; at most 1: the channel is lost. Channels that never held
    anything but zero do not count. One tensor's mean hides nothing here, unlike the noise of the tensor as a whole,
    which large channels drown.
    """
    found = {}
    for name, (low, high) in ranges.items():
        channels = artifact.tensors[name].channels.astype(np.float64)
        alive = channels[channels > 0]
        error = np.minimum(1.0, (step(low, high, scheme) / 2 / alive) ** 2)
        found[name] = float(error.mean()) if len(alive) else 0.0
    return sorted(found.items(), key=lambda item: -item[1])


def neighbours(model: onnx.ModelProto, tensor: str) -> frozenset[str]:
    """Return an activation tensor with the ones before and after it: what is best left in float together.

    With one of them alone the layers around it round twice, and accuracy may even fall.
    """
    from .quantise import activation_tensors

    wiring, known = Wiring.of(model), set(activation_tensors(model))
    sources = Placement.of(wiring, "u8s8", frozenset()).sources
    found, ahead, behind = {tensor}, [tensor], [tensor]
    seen = set[str]()
    while ahead:
        for node in wiring.readers.get(ahead.pop(), ()):
            for name in node.output:
                found |= {sources[name]} & known
                ahead += [name] if sources[name] not in known or sources[name] == tensor else []
    while behind:
        name = behind.pop()
        for before in wiring.moving(wiring.producers[name]) if name in wiring.producers else ():
            if before not in seen:
                seen.add(before)
                found |= {sources[before]} & known
                behind += [before] if sources[before] not in known else []
    return frozenset(found)
