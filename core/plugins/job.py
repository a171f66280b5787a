"""A job: one frozen cell of the comparison matrix, and all a worker is told. JSON in, JSON out."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dlcompare.core.errors import UsageError, unknown

PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
DEVICES = ("cpu", "cuda", "tpu")
EXECUTIONS = ("eager", "graph", "compiled")
LAYOUTS = ("NCHW", "NHWC")
TASKS = ("train", "verify", "compile")
CHOICES: Mapping[str, tuple[str | None, ...]] = {
    "precision": PRECISIONS, "device": DEVICES, "task": TASKS, "execution": (None, *EXECUTIONS),
    "layout": (None, *LAYOUTS)}
LEAST_ONE = ("workers", "batch", "windows", "threads", "loaders", "warmup_steps", "max_epochs")


@dataclass(frozen=True)
class Job:
    """One framework training one model on one dataset under one protocol.

    ``batch`` is per worker; ``steps`` is per window (None: as many as fill ``window_seconds``); ``threads`` is per
    worker. ``execution`` and ``layout`` are None where the backend chooses; a plan names the execution. ``loss_scale``
    is the first one in fp16. ``target`` is an accuracy to train to (``top1=0.97``), in at most ``max_epochs``.
    ``save``: keep the trained parameters.
    ``task`` is ``train``, ``verify`` (then ``cases`` says what to observe) or ``compile`` (then ``topology`` says for
    which devices, none of which need be here).
    """

    framework: str
    model: str
    data: str = "digits"
    device: str = "cpu"
    precision: str = "fp32"
    execution: str | None = None
    layout: str | None = None
    workers: int = 1
    batch: int = 8
    image_size: int | None = None
    steps: int | None = None
    windows: int = 5
    window_seconds: float = 2.0
    warmup_steps: int = 3
    seed: int = 0
    lr: float = 0.01
    schedule: str = "constant"
    momentum: float = 0.9
    weight_decay: float = 1e-4
    loss_scale: float = 2.0**15
    threads: int = 1
    loaders: int = 2
    weights: str | None = None
    port: int | None = None
    target: str | None = None
    max_epochs: int = 100
    save: bool = False
    topology: str | None = None
    task: str = "train"
    cases: tuple[str, ...] = ()
    worker: ClassVar[str] = "dlcompare.core.worker"  # the module whose processes carry it

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise unknown(name, str(getattr(self, name)), [value for value in allowed if value])
        for name in LEAST_ONE:
            if getattr(self, name) < 1:
                raise UsageError(f"{name.replace('_', '-')} must be at least 1, not {getattr(self, name)}")
        if self.steps is not None and self.steps < 1:
            raise UsageError(f"steps must be at least 1, not {self.steps}")
        if not 0 < self.window_seconds < float("inf") or not 0 <= self.lr < float("inf"):
            raise UsageError(f"lr and window-seconds must be finite and positive, not {self.lr}, {self.window_seconds}")
        learning_rate(self, step=0)  # raises on a schedule that does not parse
        target_top1(self)

    @property
    def id(self) -> str:
        """Return the folder name of this job: readable, and unique within a plan."""
        digest = hashlib.sha256(self.to_json().encode()).hexdigest()[:6]
        return f"{self.framework}-{self.model}-{self.precision}-w{self.workers}-{digest}"

    def to_json(self) -> str:
        """Return the job as JSON text with sorted keys."""
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Read what :meth:`to_json` wrote; UsageError lists the known keys when there is one it does not know."""
        data: Mapping[str, Any] = json.loads(text)
        known = [f.name for f in dataclasses.fields(cls)]
        for key in data:
            if key not in known:
                raise unknown("job key", key, known)
        return cls(**{**data, "cases": tuple(data.get("cases", ()))})


def learning_rate(job: Job, *, step: int) -> float:
    """Return the learning rate of optimiser step ``step``, counted from 0, under the job's schedule.

    ``constant``; ``warmup:N`` rises linearly to lr over N steps; ``cosine:N`` falls from lr to 0 over N steps.
    """
    kind, _, count = job.schedule.partition(":")
    if kind == "constant" and not count:
        return job.lr
    if kind in ("warmup", "cosine") and count.isdigit() and int(count) > 0:
        steps = int(count)
        if kind == "warmup":
            return job.lr * min(1.0, (step + 1) / steps)
        return job.lr * 0.5 * (1 + math.cos(math.pi * min(step, steps) / steps))
    raise UsageError(f"unknown schedule {job.schedule!r}; there is: constant, warmup:STEPS, cosine:STEPS")


def target_top1(job: Job) -> float | None:
    """Return the top-1 accuracy to train to, as a share of 1, or None; UsageError if the target does not parse."""
    if job.target is None:
        return None
    quantity, _, value = job.target.partition("=")
    with contextlib.suppress(ValueError):
        if quantity == "top1" and 0 < float(value) <= 1:
            return float(value)
    raise UsageError(f"a target is top1=SHARE, a share above 0 and at most 1, as in top1=0.97, not {job.target!r}")
