"""A meter held open by this process: whatever it raises costs its own readings, and is told of."""

from __future__ import annotations

import dataclasses

from .meter import Absent, Meter, Metered, Opened

Values = tuple["float | None", ...]


class Held:
    """A meter that was asked to open; ``metered`` is what a record holds of it, its reason or loss included."""

    def __init__(self, meter: Meter, device: str) -> None:
        self.opened: Opened | None = None
        self.metered = Metered(meter.name, meter.sort, shortest=meter.shortest, apart=meter.disturbs)
        try:
            self.opened = meter.open(device)
        except Absent as error:
            self._note(reason=str(error))
        except Exception as error:  # a plug-in's may raise anything
            self._note(reason=in_words(error))
        else:
            self._note(absent=dict(self.opened.absent), about=dict(self.opened.about),
                       quantities=tuple(self.opened.quantities),
                       devices={scope: tuple(names) for scope, names in self.opened.devices.items()})

    def read(self) -> Values | None:
        """Return what it reads now; None once it is absent or lost."""
        if self.opened is None:
            return None
        try:
            found = tuple(self.opened.read())
            if len(found) != len(self.metered.quantities):
                raise ValueError(f"it gave {len(found)} values for {len(self.metered.quantities)} quantities")
        except Exception as error:
            self._note(lost=in_words(error))
            self.close()
            return None
        return found

    def count(self, *, on: bool) -> None:
        """Have a meter that disturbs begin to count, or end."""
        if self.opened is None or not self.metered.apart:
            return
        try:
            (self.opened.begin if on else self.opened.end)()
        except Exception as error:
            self._note(lost=in_words(error))
            self.close()

    def close(self) -> None:
        """Give the meter back, whatever that raises: the work is done."""
        opened, self.opened = self.opened, None
        if opened is None:
            return
        self._note(absent=dict(opened.absent), about=dict(opened.about))  # which may have grown meanwhile
        try:
            opened.close()
        except Exception as error:
            self._note(lost=self.metered.lost or in_words(error))

    def _note(self, **known: object) -> None:
        self.metered = dataclasses.replace(self.metered, **known)  # type: ignore[arg-type]


def in_words(error: Exception) -> str:
    """Return what went wrong in a meter, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
