"""A network that takes one batch size alone, run with any: short batches are filled up, long ones go piece by piece."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcompare.core.plugins.engine import Ran, Session
from dlcompare.core.plugins.inference_job import InferenceJob

if TYPE_CHECKING:
    from dlcompare.core.plugins.backend import Arrays

WHOLE = "state"  # the role of an input that has no batch axis


def any_batch(session: Session, job: InferenceJob) -> Session:
    """Return a session that takes batches of any size; the very same one if the network does."""
    states = [name for name, spec in job.inputs.items() if spec.role == WHOLE]
    return Pieces(session, job.fixed_batch, states) if job.fixed_batch else session


class Pieces(Session):
    """Runs batches of ``size`` samples on a session, the last filled up with its last sample; ``states`` are not cut.

    A batch of the very size is one run, started and waited for as without this.
    """

    def __init__(self, session: Session, size: int, states: Collection[str]) -> None:
        self.session, self.size, self.states = session, size, set(states)
        self.rows = 0
        self.done: list[Arrays] = []

    def place(self, batch: Arrays) -> list[Any]:
        self.rows = next(len(value) for name, value in batch.items() if name not in self.states)
        filled = [np.minimum(np.arange(begin, begin + self.size), self.rows - 1)
                  for begin in range(0, self.rows, self.size)]
        return [self.session.place({name: value if name in self.states else value[rows]
                                    for name, value in batch.items()}) for rows in filled]

    def run(self, placed: list[Any]) -> None:
        self.done = []
        for piece in placed[:-1]:
            self.session.run(piece)
            self.session.wait()
            self.done.append({name: np.array(value) for name, value in self.session.fetch().items()})
        self.session.run(placed[-1])

    def wait(self) -> None:
        self.session.wait()

    def fetch(self) -> Arrays:
        parts = [*self.done, self.session.fetch()]
        return {name: np.concatenate([part[name] for part in parts])[:self.rows] if value.ndim else value
                for name, value in parts[-1].items()}

    def ran(self) -> Ran:
        return self.session.ran()

    def settings(self) -> dict[str, Any]:
        return {**self.session.settings(), "batch": f"{self.size}, fixed by the file"}

    def versions(self) -> dict[str, str]:
        return self.session.versions()

    def peak_bytes(self) -> int | None:
        return self.session.peak_bytes()

    def device_ids(self) -> tuple[str, ...] | None:
        return self.session.device_ids()

    def close(self) -> None:
        self.session.close()
