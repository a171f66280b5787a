"""NVIDIA's management library as a function: ``call(name, device, *args)``, with plain values in and out.

Its Python package is NVIDIA's own, nvidia-ml-py; the library itself comes with the driver. A device is its number in
NVML's order, or [number, instance] for a part of one (MIG).
"""

from __future__ import annotations

import functools
from typing import Any

from .meter import Absent
from .recording import Call, DriverError

INSTALL = "install it beside dlcompare with: pip install 'dlcompare[nvidia]'"
MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")  # of a field's value, by nvmlValueType_t
LOST = {1, 15, 16, 28}  # uninitialised, GPU is lost, reset required, GPU not found: it will not answer any more


def library() -> Call:
    """Return the library of this machine's driver, open.

    Raises:
        Absent: the package or the driver is not here.
    """
    try:
        import pynvml
    except ImportError as error:
        raise Absent(f"NVIDIA's nvidia-ml-py is not installed where dlcompare is ({error}); {INSTALL}") from error
    if not hasattr(pynvml, "_nvmlGetFunctionPointer"):
        raise Absent("the installed package pynvml is not NVIDIA's and hides it; remove it (pip uninstall pynvml) and "
                     f"{INSTALL}")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise Absent(f"no NVIDIA driver answers here: {error}") from error
    return functools.partial(asked, pynvml, {})


def asked(module: Any, handles: dict[str, Any], name: str, *args: Any) -> Any:
    """Return what a function of NVML says, of a device if its name has one; DriverError if it refuses."""
    try:
        if name.startswith("nvmlDevice") and name != "nvmlDeviceGetCount":
            args = (handle(module, handles, args[0]), *args[1:])
        return plain(getattr(module, name)(*args))
    except module.NVMLError as error:
        raise DriverError(int(error.value), str(error)) from error
    except AttributeError as error:  # a package older than the function
        raise DriverError(13, f"nvidia-ml-py has no {name}") from error


def handle(module: Any, handles: dict[str, Any], device: int | list[int]) -> Any:
    """Return the handle of a device or of a part of one, looked up once."""
    place = str(device)
    if place not in handles:
        handles[place] = (module.nvmlDeviceGetHandleByIndex(device) if isinstance(device, int) else
                          module.nvmlDeviceGetMigDeviceHandleByIndex(handle(module, handles, device[0]), device[1]))
    return handles[place]


def plain(value: Any) -> Any:
    """Return what NVML returned as JSON can hold it: structures as objects, fields of a device with their values."""
    if hasattr(value, "nvmlReturn"):
        return {"field": value.fieldId, "scope": value.scopeId, "return": value.nvmlReturn,
                "value": getattr(value.value, MEMBERS[value.valueType]) if value.nvmlReturn == 0 else None}
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if hasattr(value, "_fields_"):
        return {name: plain(getattr(value, name)) for name, *_ in value._fields_}
    if hasattr(value, "__len__") and not isinstance(value, str):
        return [plain(one) for one in value]
    return value
