"""How windows slide over an image: sizes, borders and bins, for shape rules and for backends alike."""

from __future__ import annotations


def both(value: int | tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) of an attribute that is one number where the two are equal."""
    return (value, value) if isinstance(value, int) else value


def slide(size: int, kernel: int, stride: int, pad: int, *, ceil: bool = False) -> int:
    """Return how often a window fits, rounding down unless ``ceil``; 0 if not even one whole window does."""
    if size + 2 * pad < kernel:
        return 0
    return (size + sum(borders(size, kernel, stride, pad, ceil=ceil)) - kernel) // stride + 1


def reach(kernel: int, dilation: int) -> int:
    """Return how many pixels a kernel spans whose taps are ``dilation`` pixels apart."""
    return (kernel - 1) * dilation + 1


def borders(size: int, kernel: int, stride: int, pad: int, *, ceil: bool) -> tuple[int, int]:
    """Return the pixels before and after an axis: ``pad``, and with ``ceil`` what the last window sticks out by.

    For backends that cannot round up by themselves; the reference has its own, so that it can tell when this is wrong.
    """
    return pad, pad + (-(size + 2 * pad - kernel) % stride if ceil else 0)


def bin_weights(pixels: int, size: int) -> list[list[float]]:
    """Return the (size, pixels) matrix whose rows take the mean over the bins of an adaptive mean pooling.

    For backends without such a kernel; the reference has its own, so that it can tell when this one is wrong.
    """
    spans = [(i * pixels // size, -(-(i + 1) * pixels // size)) for i in range(size)]
    return [[1 / (end - begin) if begin <= x < end else 0.0 for x in range(pixels)] for begin, end in spans]
