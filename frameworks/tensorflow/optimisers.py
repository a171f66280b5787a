"""The optimisers by TensorFlow's kernels, given what makes them compute what is pinned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from dlcompare.core.plugins.job import Job, decay_of
from dlcompare.core.plugins.optimiser import ADAMW, MOMENTUM, NESTEROV, parse


class Optimiser:
    """Moves variables in place, eagerly or in a traced function; ``momentum`` kernels keep the velocity without lr.

    Adam's kernel puts epsilon beside the uncorrected root, so it is given epsilon times the root of the correction.
    """

    def __init__(self, variables: Sequence[Any], job: Job) -> None:
        self.variables, self.job, self.asked = list(variables), job, parse(job.optimiser)
        moments = 1 if self.asked.name in MOMENTUM else 2
        self.moments = [[tf.Variable(tf.zeros(v.shape), trainable=False) for v in self.variables]
                        for _ in range(moments)]
        self.taken = tf.Variable(0.0, trainable=False)  # steps of Adam

    def step(self, lr: Any, gradients: Sequence[Any]) -> bool:
        """Take a step with averaged gradients; returns True, for ``tf.cond``."""
        move = self._momentum if self.asked.name in MOMENTUM else self._adam
        if self.job.clip is not None:
            share = tf.minimum(1.0, self.job.clip / tf.linalg.global_norm(gradients))
            gradients = [gradient * share for gradient in gradients]
        move(lr, gradients)
        return True

    def _momentum(self, lr: Any, gradients: Sequence[Any]) -> None:
        for variable, velocity, gradient in zip(self.variables, *self.moments, gradients, strict=True):
            if decay := decay_of(self.job, variable.shape):
                gradient += decay * variable
            tf.raw_ops.ResourceApplyMomentum(
                var=variable.handle, accum=velocity.handle, lr=lr, grad=gradient, momentum=self.job.momentum,
                use_nesterov=self.asked.name == NESTEROV)

    def _adam(self, lr: Any, gradients: Sequence[Any]) -> None:
        asked = self.asked.in_float32  # as the kernel has betas
        self.taken.assign_add(1.0)
        c1, c2 = (1 - tf.pow(tf.constant(beta, tf.float64), tf.cast(self.taken, tf.float64))
                  for beta in (asked.beta1, asked.beta2))
        root = tf.sqrt(c2)
        folded, eps = tf.cast(tf.cast(lr, tf.float64) * root / c1, tf.float32), tf.cast(asked.eps * root, tf.float32)
        for variable, first, second, gradient in zip(self.variables, *self.moments, gradients, strict=True):
            if decay := decay_of(self.job, variable.shape):
                if asked.name == ADAMW:
                    variable.assign(variable * (1 - lr * decay))
                else:
                    gradient += decay * variable
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle, m=first.handle, v=second.handle, beta1_power=0.0, beta2_power=0.0, lr=folded,
                beta1=asked.beta1, beta2=asked.beta2, epsilon=eps, grad=gradient)
