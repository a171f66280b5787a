"""Copies between this machine's memory and its first GPU's, and within that, by CUDA's driver: no framework is needed.

The calls are those of the CUDA Driver API's reference, chapters 6.8 (contexts) and 6.13 (memory).
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator

from .probe import Absent, Probe, steadily

LIBRARY = "libcuda.so.1"  # comes with the driver
BYTES = 256 << 20
Pointer = ctypes.c_void_p


class Cuda:
    """CUDA's driver, with the first GPU's own context made this thread's."""

    def __init__(self, library: str = LIBRARY) -> None:
        try:
            self.library = ctypes.CDLL(library)
        except OSError as error:
            raise Absent(f"CUDA's driver cannot be loaded: {error}") from error
        self.device, context, version = ctypes.c_int(), Pointer(), ctypes.c_int()
        self("cuInit", ctypes.c_uint(0))
        self("cuDriverGetVersion", ctypes.byref(version))
        self("cuDeviceGet", ctypes.byref(self.device), ctypes.c_int(0))
        self("cuDevicePrimaryCtxRetain", ctypes.byref(context), self.device)
        self("cuCtxSetCurrent", context)
        name = ctypes.create_string_buffer(100)
        self("cuDeviceGetName", name, ctypes.c_int(len(name)), self.device)
        self.name, self.version = name.value.decode(errors="replace"), f"CUDA {version.value // 1000}"

    def __call__(self, name: str, *arguments: object) -> None:
        """Call a function of the driver; Absent with the error's name if it fails."""
        code = getattr(self.library, name)(*arguments)
        if code:
            said = ctypes.c_char_p()
            self.library.cuGetErrorName(ctypes.c_int(code), ctypes.byref(said))
            raise Absent(f"{name} of CUDA's driver failed: {(said.value or str(code).encode()).decode()}")

    def close(self) -> None:
        self("cuDevicePrimaryCtxRelease_v2", self.device)

    @contextlib.contextmanager
    def on_device(self) -> Iterator[ctypes.c_uint64]:
        """Yield BYTES of the GPU's memory."""
        place = ctypes.c_uint64()
        self("cuMemAlloc_v2", ctypes.byref(place), ctypes.c_size_t(BYTES))
        try:
            yield place
        finally:
            self("cuMemFree_v2", place)

    @contextlib.contextmanager
    def pinned(self) -> Iterator[Pointer]:
        """Yield BYTES of this machine's memory that stay where they are."""
        place = Pointer()
        self("cuMemHostAlloc", ctypes.byref(place), ctypes.c_size_t(BYTES), ctypes.c_uint(0))
        try:
            yield place
        finally:
            self("cuMemFreeHost", place)

    @contextlib.contextmanager
    def pageable(self) -> Iterator[Pointer]:
        """Yield BYTES of ordinary memory."""
        block = bytearray(BYTES)
        yield Pointer(ctypes.addressof(ctypes.c_char.from_buffer(block)))


@contextlib.contextmanager
def copying(way: str, library: str = LIBRARY) -> Iterator[Probe]:
    """Yield the copying one way: gpu-memory, gpu-host-to-device, gpu-device-to-host, each of both also -pageable."""
    with contextlib.ExitStack() as stack:
        cuda = Cuda(library)
        stack.callback(cuda.close)
        place, size = stack.enter_context(cuda.on_device()), ctypes.c_size_t(BYTES)
        call: Callable[[], None]
        if way == "gpu-memory":
            second = stack.enter_context(cuda.on_device())
            call, amount, state = (lambda: cuda("cuMemcpyDtoD_v2", second, place, size)), 2 * BYTES, "read and written"
        else:
            state = "pageable" if way.endswith("-pageable") else "pinned"
            host = stack.enter_context(cuda.pageable() if state == "pageable" else cuda.pinned())
            to_device = way.startswith("gpu-host-to-device")
            call = ((lambda: cuda("cuMemcpyHtoD_v2", place, host, size)) if to_device else
                    (lambda: cuda("cuMemcpyDtoH_v2", host, place, size)))
            amount = BYTES

        def once() -> None:
            call()
            cuda("cuCtxSynchronize")  # a copy within the GPU returns before it is done

        once()
        yield Probe(steadily(once), amount, cuda.name, cuda.version, BYTES, state)
