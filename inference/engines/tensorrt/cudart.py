"""CUDA's runtime through ctypes: memory, a stream, copies, and what the GPU is. No pycuda, no other package.

The library is the one of the environment's own wheels, else the system's. The numbers below are of CUDA's stable binary
interface (driver_types.h).
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dlcompare.core.errors import JobError

BY_ADDRESS = 4  # cudaMemcpyDefault: addresses tell where from and where to
MAJOR, MINOR = 75, 76  # cudaDevAttrComputeCapabilityMajor, -Minor
NO_GPU = {35, 100, 101}  # driver too old or absent, no device, invalid device
NAME_BYTES, PROPERTIES_BYTES = 256, 8192  # of cudaDeviceProp: its name comes first in every version; its size, amply
WHAT_TO_DO = ("no usable GPU: TensorRT builds and runs only where an NVIDIA GPU and its driver are. Use a machine with "
              "one (in a container, --gpus all) and a driver as new as the wheels' CUDA, or --engine tensorrt-emulated")


def libraries() -> Iterator[str]:
    """Yield where CUDA's runtime may be, NVIDIA's wheels first."""
    spec = importlib.util.find_spec("nvidia")
    for folder in spec.submodule_search_locations or () if spec else ():
        yield from sorted(map(str, Path(folder).glob("*/lib/libcudart.so.*")), reverse=True)
    if system := ctypes.util.find_library("cudart"):
        yield system
    yield "libcudart.so"


def library() -> ctypes.CDLL:
    """Return CUDA's runtime. JobError where there is none."""
    for place in libraries():
        try:
            return ctypes.CDLL(place)
        except OSError:
            continue
    raise JobError("there is no CUDA runtime (libcudart) in this environment; install nvidia-cuda-runtime for CUDA 13, "
                   "nvidia-cuda-runtime-cu12 or nvidia-cuda-runtime-cu11, whichever this TensorRT was built with")


class Cuda:
    """The first visible GPU of this process. Every call raises JobError with CUDA's own words if it fails."""

    def __init__(self) -> None:
        self.library = library()
        for name in ("cudaGetErrorName", "cudaGetErrorString"):
            getattr(self.library, name).restype = ctypes.c_char_p
        self.idle: dict[int, list[int]] = defaultdict(list)  # memory that nobody uses, by its size
        self.call("cudaSetDevice", 0)

    def call(self, name: str, *arguments: Any) -> None:
        code = getattr(self.library, name)(*arguments)
        if code:
            said = f"{name}: CUDA error {code}, {self.library.cudaGetErrorString(code).decode()}"
            raise JobError(f"{WHAT_TO_DO} ({said})" if code in NO_GPU else said)

    def number(self, name: str, *arguments: Any) -> int:
        """Return the integer that a call writes to its first argument."""
        found = ctypes.c_int()
        self.call(name, ctypes.byref(found), *arguments)
        return found.value

    def versions(self) -> dict[str, str]:
        """Return CUDA's version, and the newest one that the driver can do."""
        numbers = {"cuda": self.number("cudaRuntimeGetVersion"), "driver_cuda": self.number("cudaDriverGetVersion")}
        return {name: f"{number // 1000}.{number % 1000 // 10}" for name, number in numbers.items()}

    def gpu(self) -> str:
        """Return the GPU's name. Its serial numbers are left alone: they would name the machine."""
        properties = ctypes.create_string_buffer(PROPERTIES_BYTES)
        self.call("cudaGetDeviceProperties", properties, 0)
        return properties.raw[:NAME_BYTES].partition(b"\0")[0].decode()

    def capability(self) -> tuple[int, int]:
        """Return the GPU's compute capability."""
        return (self.number("cudaDeviceGetAttribute", MAJOR, 0), self.number("cudaDeviceGetAttribute", MINOR, 0))

    def free_bytes(self) -> int:
        """Return how much of the GPU's memory nobody uses, other processes included."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self.call("cudaMemGetInfo", ctypes.byref(free), ctypes.byref(total))
        return free.value

    def stream(self) -> Stream:
        return Stream(self)

    def memory(self, size: int) -> Memory:
        """Return memory on the GPU: some that was used before and is free again, if there is any of this size."""
        if self.idle[size]:
            return Memory(self, self.idle[size].pop(), size)
        address = ctypes.c_void_p()
        self.call("cudaMalloc", ctypes.byref(address), ctypes.c_size_t(size))
        return Memory(self, int(address.value or 0), size)

    def release(self) -> None:
        """Give back all memory that nobody uses."""
        for addresses in self.idle.values():
            while addresses:
                self.call("cudaFree", ctypes.c_void_p(addresses.pop()))


class Memory:
    """A piece of the GPU's memory; kept for the next of its size when nobody refers to it any more."""

    def __init__(self, cuda: Cuda, address: int, size: int) -> None:
        self.cuda, self.address, self.size = cuda, address, size

    def __del__(self) -> None:
        self.cuda.idle[self.size].append(self.address)


class Stream:
    """An order of work on the GPU."""

    def __init__(self, cuda: Cuda) -> None:
        self.cuda, handle = cuda, ctypes.c_void_p()
        cuda.call("cudaStreamCreate", ctypes.byref(handle))
        self.handle = int(handle.value or 0)

    def copy_in(self, memory: Memory, array: np.ndarray) -> None:
        self._copy(memory.address, array.ctypes.data, array.nbytes)

    def copy_out(self, array: np.ndarray, memory: Memory) -> None:
        self._copy(array.ctypes.data, memory.address, array.nbytes)

    def _copy(self, to: int, source: int, size: int) -> None:
        self.cuda.call("cudaMemcpyAsync", ctypes.c_void_p(to), ctypes.c_void_p(source), ctypes.c_size_t(size),
                       BY_ADDRESS, ctypes.c_void_p(self.handle))

    def wait(self) -> None:
        self.cuda.call("cudaStreamSynchronize", ctypes.c_void_p(self.handle))

    def close(self) -> None:
        self.cuda.call("cudaStreamDestroy", ctypes.c_void_p(self.handle))
