"""Images per second that the imagefolder loader decodes, per process: 500 x 375 JPEGs to 224 x 224, training view."""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from dlcompare.core.data.images.imagefolder import open_dataset
from dlcompare.core.graph import Input

INPUTS = {"image": Input((3, 224, 224)), "label": Input((), "int64", "label", 1000)}


def photographs(root: Path, count: int) -> None:
    """Write JPEGs with the detail of photographs: noise at several scales."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        (root / split / "class").mkdir(parents=True)
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize((500, 375))
        pixels = np.asarray(coarse, np.int16) + rng.normal(0, 12, (375, 500, 3)).astype(np.int16)
        for split in ("train", "val"):
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / split / "class" / f"{i}.jpg", quality=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        photographs(root, args.images)
        for loaders in (1, 2):
            dataset = open_dataset(folder, INPUTS, seed=0, train=True, loaders=loaders)
            indices = np.arange(args.images)
            dataset.batch(indices, epoch=0)
            begin, done = time.perf_counter(), 0
            while time.perf_counter() - begin < args.seconds:
                done += 1
                dataset.batch(indices, epoch=done)
            rate = done * args.images / (time.perf_counter() - begin)
            dataset.close()
            print(f"{loaders} loader process(es): {rate:.0f} images/s, {rate / loaders:.0f} per process")


if __name__ == "__main__":
    main()
