"""Optimisers by name, and the one formula of each, which every backend computes whatever its framework's own is.

With g the mean gradient over all workers, shortened to the job's ``clip`` if the norm of all of it together is longer
(g min(1, clip / norm), without an epsilon), wd what weight decay reaches a parameter with, t the steps taken, from 1:

    sgd       g += wd w;  v = momentum v + g;  w -= lr v
    nesterov  g += wd w;  v = momentum v + g;  w -= lr (g + momentum v)
    adam      g += wd w;  m = b1 m + (1 - b1) g;  s = b2 s + (1 - b2) g^2;  u = (m / c1) / (sqrt(s / c2) + eps);
              w -= lr u, where c1 = 1 - b1^t and c2 = 1 - b2^t
    adamw     as adam without wd in g;  w -= lr (u + wd w)

Frameworks differ on where epsilon stands: Keras and MXNet add it to the root of s before that is divided by c2, which
makes steps up to 59 % shorter where gradients are about as large as epsilon.
"""

from __future__ import annotations

import functools
import math
import struct
from dataclasses import dataclass

from dlcompare.core.errors import UsageError

SGD, NESTEROV, ADAM, ADAMW = "sgd", "nesterov", "adam", "adamw"
MOMENTUM = (SGD, NESTEROV)  # those that keep a velocity, and go by the job's momentum
NAMES = (*MOMENTUM, ADAM, ADAMW)
FORMS = "sgd, nesterov, adam[:B1,B2,EPS] or adamw[:B1,B2,EPS]"


@dataclass(frozen=True)
class Optimiser:
    """One optimiser as a job asks for it."""

    name: str
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    @property
    def in_float32(self) -> Optimiser:
        """Return it with betas as a kernel in float32 has them, so that corrections are for just those.

        1 - 0.999 is off by 1e-5 there; but it is in s and in c2 alike.
        """
        beta1, beta2 = struct.unpack("ff", struct.pack("ff", self.beta1, self.beta2))
        return Optimiser(self.name, beta1, beta2, self.eps)

    def correction(self, taken: int) -> tuple[float, float]:
        """Return c1 and c2 of step ``taken``, counted from 1."""
        return 1 - self.beta1**taken, 1 - self.beta2**taken

    def folded(self, lr: float, taken: int) -> tuple[float, float]:
        """Return learning rate and epsilon for kernels that compute w -= lr m / (sqrt(s) + eps), without corrections.

        lr (m / c1) / (sqrt(s / c2) + eps) is (lr sqrt(c2) / c1) m / (sqrt(s) + eps sqrt(c2)).
        """
        first, second = self.correction(taken)
        return lr * math.sqrt(second) / first, self.eps * math.sqrt(second)


@functools.cache
def parse(text: str) -> Optimiser:
    """Return the optimiser that a job names; UsageError with the forms that there are."""
    name, given, numbers = text.partition(":")
    if name not in NAMES or (given and name in MOMENTUM):
        raise UsageError(f"unknown optimiser {text!r}; there is: {FORMS}")
    try:
        found = Optimiser(name, *(float(number) for number in numbers.split(","))) if given else Optimiser(name)
    except (ValueError, TypeError):
        raise UsageError(f"optimiser {text!r} cannot be read; write {FORMS}, as adam:0.9,0.98,1e-9") from None
    if not (0 <= found.beta1 < 1 and 0 <= found.beta2 < 1 and 0 < found.eps < math.inf):
        raise UsageError(f"optimiser {text!r}: both betas must be at least 0 and below 1, and epsilon above 0")
    return found
