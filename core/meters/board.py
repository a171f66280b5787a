"""What is published of how GPUs measure their own power: how often a value is new, and over how long it is an average.

Source: Yang, Adamek, Armour, "Accurate and convenient energy measurements for GPUs", SC24 (arXiv:2312.02741), the table
of their measurements; an A100 and an H100 look at their power a quarter of the time. What the rest of the time brings
is not in the joules.
"""

from __future__ import annotations

SOURCE = "Yang et al. 2024, arXiv:2312.02741"
# Of the name: power as NVML's field calls it, or "power usage" before there were two; seconds of update and window.
MEASURED = {
    "V100": {"power usage": (0.020, 0.0105), "power": (0.020, 0.0105)},
    "P100": {"power usage": (0.021, 0.011)},
    "A100": {"power usage": (0.100, 0.025), "power": (0.100, 0.025)},
    "H100": {"power": (0.100, 0.025), "power average": (0.100, 1.0)},
    "3090": {"power": (0.100, 0.100), "power average": (0.100, 1.0)},
    "4090": {"power": (0.100, 0.110), "power average": (0.100, 1.0)},
    "2080 Ti": {"power usage": (0.101, 0.102)},
}


def duty(name: str, power: str) -> dict[str, float | str] | None:
    """Return what is published of a GPU's power: ``update_s``, ``window_s``, the share of time that is looked at.

    None if nothing is published of it.
    """
    found = next((fields[power] for board, fields in MEASURED.items() if board in name and power in fields), None)
    if found is None:
        return None
    update, window = found
    return {"update_s": update, "window_s": window, "duty": min(1.0, window / update), "source": SOURCE}
