"""Files for the user's eyes alone, and folders that nobody else can write to: what lies in those is run as the user."""

from __future__ import annotations

import grp
import os
import pwd
import re
import shlex
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
                             f"close, and you know all that is in it: {remedy(place, below=place in ways)}. If not, "
                             f"set {CACHE} to another folder, which is made anew")
    return folder


def remedy(place: Path, *, below: bool) -> str:
    """Return the commands that close a folder to others; ``below``: with all that is in it, for all of it is ours."""
    deep, name = "-R " if below else "", shlex.quote(str(place))
    return f'chown {deep}"$(id -u)" {name}; chmod {deep}go-w {name}'


def why_open(place: Path, *, sticky: bool) -> str | None:
    """Return why others can write in a folder; ``sticky``: it may be open if nobody can replace another's files."""
    try:
        info = place.stat()
    except OSError:  # it is not there
        return None
    if info.st_uid not in (ROOT, os.geteuid()) and not (sticky and info.st_uid == unknown_root()):
        return f"belongs to another user (number {info.st_uid})"
    others = stat.S_IWOTH if is_of_the_user_alone(info.st_gid) else stat.S_IWGRP | stat.S_IWOTH
    if info.st_mode & others and not (sticky and info.st_mode & stat.S_ISVTX):
        return f"can be written by other users (mode {stat.S_IMODE(info.st_mode):o})"
    return None


def unknown_root() -> int | None:
    """Return by which number a container shows what is root's, if it maps root to nobody (a user namespace)."""
    try:
        mapped = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
        overflow = int(Path("/proc/sys/kernel/overflowuid").read_text())
    except (OSError, ValueError):
        return None
    return None if any(int(first) == ROOT for first, *_ in mapped) else overflow


def is_of_the_user_alone(group: int) -> bool:
    """Return whether a group is the user's own, with the user's number and without other members, as Debian has it."""
    if group != os.geteuid() or group == ROOT:
        return False
    try:
        members, own = grp.getgrgid(group).gr_mem, pwd.getpwuid(group).pw_name
    except KeyError:
        return False
    return set(members) <= {own}
