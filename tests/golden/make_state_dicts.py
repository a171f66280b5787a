"""Write tests/golden/state_dicts with a real PyTorch (made with 2.13.0); the unit tests read them without one.

    python tests/golden/make_state_dicts.py

Every tensor holds 0, 1/8, 2/8, ... in its own order, which all element types here hold exactly.
"""

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


def main():
    FOLDER.mkdir(exist_ok=True)
    torch.save(mixed(), FOLDER / "mixed.pt")
    replica = {f"module.{name}": value for name, value in mixed().items()}
    torch.save({"epoch": 3, "state_dict": replica, "optimizer": {"lr": 0.1}}, FOLDER / "replica.pt")
    torch.save(mixed(), FOLDER / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save({**mixed(), "conv.bias": counting(2).to(torch.complex64)}, FOLDER / "complex.pt")
    torch.save(torch.nn.Linear(2, 2), FOLDER / "module.pt")


main()
