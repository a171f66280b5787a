"""Write tests/golden/state_dicts with a real PyTorch (made with 2.13.0); the unit tests read them without one.

    python tests/golden/make_state_dicts.py

Every tensor holds 0, 1/8, 2/8, ... in its own order, which all element types here hold exactly.
"""

import argparse
import math
from collections import OrderedDict
from pathlib import Path

import torch

FOLDER = Path(__file__).parent / "state_dicts"


def counting(*shape, dtype=torch.float32):
    return (torch.arange(math.prod(shape)) / 8).reshape(shape).to(dtype)


def mixed():
    """Each element type, and each way of lying in memory."""
    shared = torch.cat([torch.full((5,), 99.0), counting(2)])
    state = OrderedDict({
        "conv.weight": counting(2, 3, 3, 3).to(memory_format=torch.channels_last),
        "conv.bias": counting(2, dtype=torch.float16),
        "bn.weight": counting(2, dtype=torch.bfloat16),
        "bn.bias": counting(2, dtype=torch.float64),
        "bn.running_mean": torch.nn.Parameter(counting(2)),
        "bn.running_var": shared[5:],  # a view with an offset
        "bn.num_batches_tracked": torch.tensor(7),
        "fc.weight": counting(3, 32).T.contiguous().T,
        "fc.bias": counting(3),
    })
    state._metadata = OrderedDict({"": {"version": 1}})
    return state


class Small(torch.nn.Module):
    """The network of the tests, its parameters counting."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.fc = torch.nn.Conv2d(3, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Linear(32, 3)
        for value in [*self.parameters(), self.bn.running_mean, self.bn.running_var]:
            value.data = counting(*value.shape)


class Trained(torch.nn.Module):
    """A loss with a weight of its own beside the network, as trained with Lightning."""

    def __init__(self):
        super().__init__()
        self.model, self.loss = Small(), torch.nn.CrossEntropyLoss(weight=torch.ones(3))


def published():
    """Yield a checkpoint in each of the forms that training programs leave."""
    small, optimiser = Small(), torch.optim.SGD(Small().parameters(), lr=0.1, momentum=0.9)
    for value in optimiser.param_groups[0]["params"]:
        value.grad = torch.ones_like(value)
    optimiser.step()
    halved = {name: value / 2 for name, value in small.state_dict().items()}
    yield "references.pth", {  # torchvision's references
        "model": small.state_dict(), "optimizer": optimiser.state_dict(), "epoch": 3, "model_ema": halved,
        "args": argparse.Namespace(lr=0.1, device=torch.device("cpu"), path=Path("x"))}
    yield "tutorial.pt", {"epoch": 5, "model_state_dict": small.state_dict(), "loss": torch.tensor(0.5),
                          "optimizer_state_dict": optimiser.state_dict()}
    yield "lightning.ckpt", {"epoch": 1, "pytorch-lightning_version": "2.4.0", "state_dict": Trained().state_dict(),
                             "callbacks": {"ModelCheckpoint": {"best": Path("x")}}, "hyper_parameters": {"lr": 0.1}}
    yield "averaged.pt", torch.optim.swa_utils.AveragedModel(small).state_dict()
    yield "compiled.pt", torch.nn.DataParallel(torch.compile(small)).state_dict()
    part = Small()
    part.conv = torch.compile(part.conv)  # one layer alone, so the wrapper is within the names
    yield "compiled_layer.pt", part.state_dict()


def main():
    FOLDER.mkdir(exist_ok=True)
    torch.save(mixed(), FOLDER / "mixed.pt")
    replica = {f"module.{name}": value for name, value in mixed().items()}
    torch.save({"epoch": 3, "state_dict": replica, "optimizer": {"lr": 0.1}}, FOLDER / "replica.pt")
    torch.save(mixed(), FOLDER / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save({**mixed(), "conv.bias": counting(2).to(torch.complex64)}, FOLDER / "complex.pt")
    torch.save(torch.nn.Linear(2, 2), FOLDER / "module.pt")
    for name, content in published():
        torch.save(content, FOLDER / name)


main()
