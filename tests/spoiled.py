"""A ResNet spoiled on purpose: the same function in FP32, with channels so uneven that eight bits cannot hold them."""

from __future__ import annotations

import numpy as np

FACTORS = (0.003, 300.0)  # of a channel, drawn evenly in the logarithm


def spoil(params: dict[str, np.ndarray], *, blocks: int = 3, seed: int = 0) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the parameters with the first batch norm of some blocks rescaled by channel, and what comes after it
    scaled back; and the names of the activations that this tampers with.
    """
    spoilt, rng = dict(params), np.random.default_rng(seed)
    chosen = sorted(key.removesuffix(".bn1.weight") for key in params if key.endswith(".bn1.weight"))[:blocks]
    for name in chosen:
        channels = len(params[f"{name}.bn1.weight"])
        scale = np.exp(rng.uniform(*np.log(FACTORS), channels)).astype(np.float32)
        spoilt[f"{name}.bn1.weight"] = params[f"{name}.bn1.weight"] * scale
        spoilt[f"{name}.bn1.bias"] = params[f"{name}.bn1.bias"] * scale
        spoilt[f"{name}.conv2.weight"] = params[f"{name}.conv2.weight"] / scale[None, :, None, None]
    return spoilt, [f"{name}.relu1" for name in chosen]


STREAM = ("bn1", "layer1.0.bn2", "layer1.1.bn2")  # what adds up to the stream that goes through ResNet's first stage
READERS = ("layer1.0.conv1", "layer1.1.conv1", "layer2.0.conv1", "layer2.0.downsample.0")


def spoil_stream(params: dict[str, np.ndarray], *, seed: int = 0) -> dict[str, np.ndarray]:
    """Return the parameters with the stream of a ResNet-18's first stage rescaled by channel: layers that several
    others read, across additions, which equalisation leaves alone.
    """
    spoilt, rng = dict(params), np.random.default_rng(seed)
    scale = np.exp(rng.uniform(*np.log(FACTORS), len(params["bn1.weight"]))).astype(np.float32)
    for name in STREAM:
        for part in ("weight", "bias"):
            spoilt[f"{name}.{part}"] = params[f"{name}.{part}"] * scale
    for name in READERS:
        spoilt[f"{name}.weight"] = params[f"{name}.weight"] / scale[None, :, None, None]
    return spoilt
