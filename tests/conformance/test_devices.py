"""Which GPUs each framework says it has: its own numbering, translated to UUIDs by the driver, of recorded objects."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dlcompare.core.environments.sources import link_sources

CUDA = """
#include <string.h>
int cuInit(unsigned flags) { return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return ordinal > 1 ? 101 : 0; }
int cuDeviceGetUuid_v2(unsigned char *uuid, int device) { memset(uuid, device, 16); return 0; }
"""
FIRST, SECOND = "00000000-0000-0000-0000-000000000000", "01010101-0101-0101-0101-010101010101"
SAID = {  # of a rank with the second GPU; of one with both or the first; on a CPU; where it cannot be told
    "pytorch-ddp": [[SECOND], [FIRST, SECOND], [], None],
    "jax": [[SECOND], [FIRST], [], None],
    "tf-horovod": [[SECOND], None, [], None]}


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc, to compile a library that answers as CUDA's does")
@pytest.mark.parametrize("framework", SAID)
def test_a_trainer_names_the_gpus_that_it_has(framework: str, environment: Callable[[str], Path],
                                              tmp_path: Path) -> None:
    source, library = tmp_path / "cuda.c", tmp_path / "libcuda.so"
    source.write_text(CUDA)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    done = subprocess.run([str(environment(framework)), str(Path(__file__).with_name("device_probe.py")), framework],
                          env={**os.environ, "PYTHONPATH": str(link_sources(tmp_path / "view")),
                               "FAKE_CUDA": str(library), "CUDA_VISIBLE_DEVICES": ""},
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("DEVICES")]
    assert json.loads(line.partition(" ")[2]) == SAID[framework]
