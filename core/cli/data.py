"""``dlcompare data``: what makes one form of data of another."""

from __future__ import annotations

import time
from pathlib import Path

import rich_click as click

from .echo import echo
from .options import option

FORMATS = ("tfrecord", "recordio", "webdataset", "npz")
TELL_SECONDS = 5.0


@click.group()
def data() -> None:
    """Prepare data: shards of the frameworks' own formats."""


@data.command("prepare")
@option("--from", "source", required=True, metavar="imagefolder:DIR", help="The images.")
@option("--to", required=True, type=click.Choice(FORMATS),
        help="TFRecord, RecordIO or tar shards, which keep the files' bytes; or arrays of decoded images.")
@option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="A folder that is not there yet.")
@option("--shard-size", type=click.IntRange(1), default=128, metavar="MB", help="Of a shard, in MB.")
@option("--image-size", type=click.IntRange(1), metavar="PIXELS", help="Of npz: side of the images; default 224.")
def prepare_(source: str, to: str, out: Path, shard_size: int, image_size: int | None) -> None:
    """Write the samples of a folder of images in another format: the same ones, in the same order, under their names.

    The folder appears when all of it is written.
    """
    from dlcompare.core.data.records.prepare import MB, prepare

    last = time.monotonic()

    def told(done: int, of: int) -> None:
        nonlocal last
        if time.monotonic() - last > TELL_SECONDS:
            last = time.monotonic()
            echo(f"{done:,} of {of:,} samples written", err=True)

    made = prepare(source, to, out, shard_bytes=shard_size * MB, image_size=image_size, told=told)
    for name, split in made.splits.items():
        size = sum(shard["bytes"] for shard in split["shards"])
        files = len(split["shards"])
        echo(f"{name}: {split['samples']:,} samples in {files} file{'s' * (files > 1)} of {size / MB:,.1f} MB in all, "
             f"ids sha256 {split['ids_sha256'][:12]}")
    echo(f"use it as --data {to}:{out}" if to != "npz" else f"use it as --data arrays:{out / 'train.npz'}")
