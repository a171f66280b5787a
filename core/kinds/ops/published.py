"""The operators that Wang et al. 2020 time (Table 4), by the names that are used here."""

from __future__ import annotations

PUBLISHED = {
    "matmul-I": "matmul:2048",
    "matmul-II": "matmul:4096",
    "matmul-III": "matmul:8192",
    "conv2d-I": "conv2d:256x224x224x3:7x7x3x64:2",
    "conv2d-II": "conv2d:128x112x112x64:3x3x64x128:1",
    "conv2d-III": "conv2d:256x56x56x128:3x3x128x256:1",
}


def published(name: str) -> str:
    """Return an operator's name in full, where it is one of the published."""
    return PUBLISHED.get(name, name)
