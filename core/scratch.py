"""Folders that a process holds for a while, in the system's place for such; the next one removes those of the dead."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from .errors import JobError

YOUNG = 60.0  # seconds: a folder may not be held yet by whoever has just made it


class Scratch:
    """A folder of this process's own. It is locked: whoever is killed holds his no longer."""

    def __init__(self, prefix: str) -> None:
        """Make one whose name begins so, and remove those that dead processes have left under such names.

        Raises:
            JobError: there is no place for one.
        """
        sweep(prefix)
        try:
            self.path = Path(tempfile.mkdtemp(prefix=prefix))
        except OSError as error:
            raise JobError(f"no temporary folder can be made ({error.strerror}: {error.filename or 'anywhere'}); make "
                           "room there, or set TMPDIR to another folder") from error
        self._held = os.open(self.path, os.O_RDONLY)
        with contextlib.suppress(OSError):  # a file system without locks, where nothing is swept either
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def remove(self) -> None:
        """Remove the folder and all in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._held)


@contextlib.contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """Hold such a folder for a block."""
    held = Scratch(prefix)
    try:
        yield held.path
    finally:
        held.remove()


def sweep(prefix: str) -> None:
    """Remove folders of this user that nobody holds any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with contextlib.suppress(OSError):  # held, no folder, or gone meanwhile
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                about = os.fstat(held)
                if about.st_uid == os.getuid() and time.time() - about.st_mtime > YOUNG:
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder)
            finally:
                os.close(held)
