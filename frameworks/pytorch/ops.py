"""Neutral op -> ``torch.nn`` module: one entry each; shapes are (batch, *node.shape)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlcompare.core.graph import Node, Shape

from .recurrent import Recurrent


class Function(nn.Module):
    """A stateless module around a function, so that every op is called the same way."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


class PositionEmbedding(nn.Module):
    """Adds the first S rows of a learned table to (batch, S, features)."""

    def __init__(self, rows: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows, features))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight[: x.shape[1]]


class LayerScale(nn.Module):
    """Multiplies each channel, or each element of the last axis, by a learned factor."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.wide = (-1, 1, 1) if len(shape) == 3 else (-1,)
        self.weight = nn.Parameter(torch.empty(shape[0 if len(shape) == 3 else -1]))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight.to(x.dtype).view(self.wide)


def attention(heads: int) -> nn.Module:
    def split(x: Tensor) -> Tensor:  # (batch, S, features) -> (batch, heads, S, features / heads)
        return x.unflatten(2, (heads, -1)).transpose(1, 2)

    def forward(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        keep = (mask != 0)[:, None, None, :]
        return F.scaled_dot_product_attention(split(query), split(key), split(value), keep).transpose(1, 2).flatten(2)

    return Function(forward)


def cross_entropy(logits: Tensor, label: Tensor, weight: Tensor | None = None) -> Tensor:
    if weight is None:
        return F.cross_entropy(logits.float(), label)
    losses = F.cross_entropy(logits.float().flatten(0, -2), label.flatten(), reduction="none")
    return (losses * weight.flatten()).sum() / len(logits)


Maker = Callable[[Node, Sequence[Shape]], nn.Module]

TABLE: dict[str, Maker] = {
    "conv": lambda n, s: nn.Conv2d(s[0][0], n.attrs["filters"], n.attrs["kernel"], n.attrs["stride"], n.attrs["pad"],
                                   n.attrs.get("dilation", 1), bias=n.attrs["bias"]),
    "batch_norm": lambda n, s: nn.BatchNorm2d(s[0][0], n.attrs["eps"], n.attrs["momentum"]),
    "relu": lambda n, s: nn.ReLU(),
    "gelu": lambda n, s: nn.GELU(),
    "tanh": lambda n, s: nn.Tanh(),
    "max_pool": lambda n, s: nn.MaxPool2d(n.attrs["kernel"], n.attrs["stride"], n.attrs["pad"],
                                         ceil_mode=n.attrs["ceil"]),
    "avg_pool": lambda n, s: nn.AvgPool2d(n.attrs["kernel"], n.attrs["stride"], n.attrs["pad"]),
    "adaptive_avg_pool": lambda n, s: nn.AdaptiveAvgPool2d(n.attrs["size"]),
    "flatten": lambda n, s: nn.Flatten(),
    "dense": lambda n, s: nn.Linear(s[0][-1], n.attrs["features"], bias=n.attrs["bias"]),
    "dropout": lambda n, s: nn.Dropout(n.attrs["rate"]),
    "add": lambda n, s: Function(torch.add),
    "concat": lambda n, s: Function(lambda *images: torch.cat(images, 1)),
    "scale": lambda n, s: Function(lambda x: x * n.attrs["factor"]),
    "layer_scale": lambda n, s: LayerScale(s[0]),
    "embedding": lambda n, s: nn.Embedding(n.attrs["rows"], n.attrs["features"]),
    "position_embedding": lambda n, s: PositionEmbedding(n.attrs["rows"], s[0][-1]),
    "layer_norm": lambda n, s: nn.LayerNorm(s[0][-1], n.attrs["eps"]),
    "attention": lambda n, s: attention(n.attrs["heads"]),
    "lstm": Recurrent,
    "gru": Recurrent,
    "select": lambda n, s: Function(lambda x: x.select(n.attrs["axis"] % len(s[0]) + 1, n.attrs["index"])),
    "cross_entropy": lambda n, s: Function(cross_entropy),
    "mean_square": lambda n, s: Function(lambda x: x.float().square().mean()),
    "split": lambda n, s: Function(lambda x: x.split(n.attrs["sizes"], n.attrs["axis"] % len(s[0]) + 1)),
    "fold": lambda n, s: Function(lambda x: x.flatten(0, 1)),
    "unfold": lambda n, s: Function(lambda x: x.unflatten(0, (-1, n.attrs["size"]))),
}

# As torchvision writes it: overwrite what nobody else reads and no backward pass needs.
IN_PLACE: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "add": lambda: Function(Tensor.add_),
}
OVERWRITABLE = ("conv", "batch_norm", "add")
