"""Built engines, kept by what they were built from: the file's content, the settings, the library, the device."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import secrets
import shutil
import time
from functools import partial
from pathlib import Path

from dlcompare.core.files import read_cached, write
from dlcompare.core.plugins.engine import Engine
from dlcompare.core.plugins.inference_job import InferenceJob
from dlcompare.core.settings import having
from dlcompare.inference.cell.result import Build

NOTE = "built.json"


@dataclasses.dataclass(frozen=True)
class Built:
    """A build: where it lies, how long it took when it was made, its size, and whether it was there already."""

    folder: Path
    seconds: float
    bytes: int
    cached: bool

    @property
    def kept(self) -> Build:
        """Return what a record keeps of it."""
        return Build(self.seconds, self.bytes, self.cached, self.folder.name)


def find_or_build(engine: Engine, job: InferenceJob, scratch: Path) -> Built:
    """Return the build of a job, made now if there is none; below ``scratch`` where the job names no cache."""
    root = Path(job.cache or scratch) / engine.name
    folder = root / key(engine, job)
    if known := read_cached(folder / NOTE, partial(as_built, folder), instead="it is built again"):
        return known
    shutil.rmtree(folder, ignore_errors=True)  # what is damaged
    part = root / f".{folder.name}.{secrets.token_hex(4)}"
    part.mkdir(parents=True)
    try:
        begin = time.perf_counter()
        engine.build(job, part)
        seconds = time.perf_counter() - begin
        size = bytes_in(part)
        write(part / NOTE, json.dumps({"seconds": seconds, "bytes": size}))
        if not folder.exists():  # another worker may have been quicker; its build is as good
            part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Built(folder, seconds, size, cached=False)


def as_built(folder: Path, note: bytes) -> Built:
    """Return the build that a note tells of; ValueError if files of it have gone."""
    known = json.loads(note)
    size = bytes_in(folder) - len(note)
    if size != known["bytes"]:
        raise ValueError(f"the build has {size} of its {known['bytes']} bytes")
    return Built(folder, float(known["seconds"]), size, cached=True)


def bytes_in(folder: Path) -> int:
    """Return the size of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def key(engine: Engine, job: InferenceJob) -> str:
    """Return what a build is kept under: a hash of everything it depends on."""
    parts = {name: getattr(job, name) for name in having(InferenceJob, "build")} | {"identity": engine.identity(job)}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]
