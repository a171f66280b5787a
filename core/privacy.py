"""Files for the user's eyes alone, and folders that nobody else can write to: what lies in those is run as the user."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from .errors import UsageError
from .variables import CACHE, UMASK

ROOT = 0  # the user who can write everywhere anyhow


def close_files() -> None:
    """Have all that this program and its children make be the user's own, or as open as the variable UMASK says."""
    text = os.environ.get(UMASK, "077")
    if not re.fullmatch("0*[0-7]{1,2}", text):
        raise UsageError(f"{UMASK}={text}: it must be an octal number such as 077 (for your eyes alone, as without "
                         "it) or 022 (for all to read), and leave you your own files")
    os.umask(int(text, 8))


def check_private(folder: Path) -> Path:
    """Return a folder of the cache; UsageError if another user could put files there, or in its place.

    As ssh does, each folder on the way must be the user's or root's, and closed to others' writing; on the way also
    sticky, as /tmp is. What is not there yet is the user's to make.
    """
    ways = folder.absolute(), Path(os.path.realpath(folder))
    for place in {part for way in ways for part in (way, *way.parents)}:
        if trouble := why_open(place, sticky=place not in ways):
            where = place if place == folder else f"{place}, where {folder} lies,"
            raise UsageError(f"{where} {trouble}, who could have dlcompare run programs of theirs. If it is yours to "
                             f"close, and you know all that is in it: chown $USER {place}; chmod go-w {place}. If not, "
                             f"set {CACHE} to another folder, which is made anew")
    return folder


def why_open(place: Path, *, sticky: bool) -> str | None:
    """Return why others can write in a folder; ``sticky``: it may be open if nobody can replace another's files."""
    try:
        info = place.stat()
    except OSError:  # it is not there
        return None
    if info.st_uid not in (ROOT, os.geteuid()):
        return f"belongs to another user (number {info.st_uid})"
    if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not (sticky and info.st_mode & stat.S_ISVTX):
        return f"can be written by other users (mode {stat.S_IMODE(info.st_mode):o})"
    return None
