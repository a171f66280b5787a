"""The built-in datasets are on offer without costing the command line's start anything."""

import subprocess
import sys

import numpy as np
import pytest

from dlcompare.core.data import builtin
from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Input

INPUTS = {"image": Input((3, 8, 8)), "label": Input((), "int64", "label", 10)}
KINDS = {kind.name: kind for kind in builtin.dlcompare_datasets()}


def test_all_are_there_with_a_title() -> None:
    assert set(KINDS) == {"arrays", "digits", "imagefolder", "recordio", "shapes", "synthetic", "tfrecord",
                          "webdataset"}
    assert all(kind.title for kind in KINDS.values())


@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_each_opens_and_gives_a_batch(name: str) -> None:
    KINDS[name].check("", INPUTS)
    dataset = KINDS[name].open("", INPUTS, seed=0, train=True, loaders=1)
    batch = dataset.batch(np.array([5, 1]), epoch=0)
    assert {key: array.shape for key, array in batch.items()} == {"image": (2, 3, 8, 8), "label": (2,)}
    dataset.close()


def test_imagefolder_asks_for_its_folder() -> None:
    with pytest.raises(UsageError, match="write --data imagefolder:PATH"):
        KINDS["imagefolder"].check("", INPUTS)


def test_offering_them_imports_neither_numpy_nor_pillow() -> None:
    program = ("import sys; from dlcompare.core.data import builtin; builtin.dlcompare_datasets(); "
               "print([name for name in ('numpy', 'PIL') if name in sys.modules])")
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
