"""The optimisers, PyTorch's own, whose formulas are those that are pinned; clipping, where they differ, written out."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from dlcompare.core.plugins.job import Job, decay_of
from dlcompare.core.plugins.optimiser import ADAMW, MOMENTUM, NESTEROV, parse


def optimiser(module: nn.Module, job: Job) -> torch.optim.Optimizer:
    """Return the job's optimiser, PyTorch's own; its formulas are those that are pinned."""
    wanted, several = parse(job.optimiser), groups(module, job)
    if wanted.name in MOMENTUM:
        ahead = wanted.name == NESTEROV and job.momentum > 0  # without momentum the two are one, and PyTorch refuses
        return torch.optim.SGD(several, lr=0.0, momentum=job.momentum, nesterov=ahead)
    make = torch.optim.AdamW if wanted.name == ADAMW else torch.optim.Adam
    return make(several, lr=0.0, betas=(wanted.beta1, wanted.beta2), eps=wanted.eps)


def groups(module: nn.Module, job: Job) -> list[dict[str, Any]]:
    """Return what the optimiser trains, parameters of one weight decay together."""
    found: dict[float, list[nn.Parameter]] = {}
    for parameter in module.parameters():
        if parameter.requires_grad:
            found.setdefault(decay_of(job, parameter.shape), []).append(parameter)
    return [{"params": several, "weight_decay": decay} for decay, several in found.items()]


@torch.no_grad()
def shorten(optimiser: torch.optim.Optimizer, most: float) -> None:
    """Bring the norm of all gradients together down to ``most``; ``clip_grad_norm_`` divides by the norm and 1e-6."""
    gradients = [p.grad for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    torch._foreach_mul_(gradients, (most / norm).clamp(max=1.0))
