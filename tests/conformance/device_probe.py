"""In a framework's environment: which GPUs a trainer says it has, where the framework answers as it does on GPUs.

    python device_probe.py BACKEND

The framework's own objects are stood in for by ones with what its documentation says that they hold; the library of
the driver, whose answers name the GPUs, is one compiled by the test (FAKE_CUDA).
"""

from __future__ import annotations

import json
import os
import sys
from types import SimpleNamespace
from typing import Any

from dlcompare.core.machine import accelerators

JOB = SimpleNamespace(device="cuda", workers=2)


def torch() -> Any:
    import torch as framework

    from dlcompare.frameworks.pytorch.data_parallel import DataParallelTrainer
    from dlcompare.frameworks.pytorch.trainer import TorchTrainer

    # torch.cuda.get_device_properties(i).uuid prints as the GPU's UUID without its prefix.
    uuids = ["00000000-0000-0000-0000-000000000000", "01010101-0101-0101-0101-010101010101"]
    framework.cuda.get_device_properties = lambda index: SimpleNamespace(uuid=uuids[index])
    own = object.__new__(TorchTrainer)
    own.job, own.device = JOB, framework.device("cuda", 1)
    both = object.__new__(DataParallelTrainer)
    both.job, both.device = JOB, framework.device("cuda", 0)
    cpu = object.__new__(TorchTrainer)
    cpu.job, cpu.device = SimpleNamespace(device="cpu", workers=1), framework.device("cpu")
    found = [own.device_ids(), both.device_ids(), cpu.device_ids()]
    framework.cuda.get_device_properties = lambda index: SimpleNamespace(name="of a version without")
    return [*found, own.device_ids()]


def jax() -> Any:
    import numpy as np

    from dlcompare.frameworks.jax.trainer import JaxTrainer

    def made(rank: int, *numbers: int | None) -> Any:
        devices = [SimpleNamespace(process_index=place, local_hardware_id=number)
                   for place, number in enumerate(numbers)]
        trainer = object.__new__(JaxTrainer)
        trainer.job, trainer.rank = JOB, rank
        trainer.program = SimpleNamespace(mesh=SimpleNamespace(devices=np.array(devices, object)))
        return trainer.device_ids()

    cpu = object.__new__(JaxTrainer)
    cpu.job = SimpleNamespace(device="cpu")
    return [made(1, 0, 1), made(0, 0, 1), cpu.device_ids(), made(0, None)]


def tensorflow() -> Any:
    import tensorflow as framework

    from dlcompare.frameworks.tensorflow.trainer import TfTrainer

    def visible(kind: str) -> list[Any]:
        return [SimpleNamespace(name="/physical_device:GPU:1", device_type="GPU")]

    framework.config.get_visible_devices = visible
    own, cpu = object.__new__(TfTrainer), object.__new__(TfTrainer)
    own.job, cpu.job = JOB, SimpleNamespace(device="cpu")
    found = [own.device_ids(), None, cpu.device_ids()]
    accelerators.cuda_uuid.__defaults__ = ("libnothing.so.1",)
    return [*found, own.device_ids()]


if __name__ == "__main__":
    accelerators.cuda_uuid.__defaults__ = (os.environ["FAKE_CUDA"],)
    probes = {"pytorch-ddp": torch, "jax": jax, "tf-horovod": tensorflow}
    print("DEVICES", json.dumps(probes[sys.argv[1]]()))
