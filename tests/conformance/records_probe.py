"""Reads shards of ours with a framework's own reader, and writes some with its own writer: FRAMEWORK FOLDER OURS.

Prints what it read as JSON: [name or number, label, SHA-256 of the image] of each record.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

MAGIC = bytes.fromhex("0a23d7ce")  # RecordIO's
AWKWARD = [b"", b"x", MAGIC * 3, b"1234" + MAGIC + b"56", bytes(range(256)) * 40]


def with_tensorflow(folder: Path, ours: str) -> list[list[object]]:
    import tensorflow as tf

    text = tf.io.FixedLenFeature([], tf.string)
    spec = {"image/encoded": text, "image/filename": text, "image/class/label": tf.io.FixedLenFeature([], tf.int64)}
    files = sorted(map(str, Path(ours).glob("*.tfrecord")))
    read = [tf.io.parse_single_example(record, spec) for record in tf.data.TFRecordDataset(files)]
    with tf.io.TFRecordWriter(str(folder / "theirs.tfrecord")) as writer:
        for number, data in enumerate(AWKWARD):
            features = {
                "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[data])),
                "image/filename": tf.train.Feature(bytes_list=tf.train.BytesList(value=[f"{number}.jpg".encode()])),
                "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[number])),
                "image/object/bbox/xmin": tf.train.Feature(float_list=tf.train.FloatList(value=[0.5, 0.25]))}
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    names, images = "image/filename", "image/encoded"
    return [[one[names].numpy().decode(), int(one["image/class/label"]), digest(one[images].numpy())] for one in read]


def with_mxnet(folder: Path, ours: str) -> list[list[object]]:
    from mxnet import recordio

    found: list[list[object]] = []
    for path in sorted(Path(ours).glob("*.rec")):
        reader = recordio.MXIndexedRecordIO(str(path.with_suffix(".idx")), str(path), "r")
        for key in reader.keys:
            header, image = recordio.unpack(reader.read_idx(key))
            found.append([header.id, int(header.label), digest(image)])
    writer = recordio.MXRecordIO(str(folder / "theirs.rec"), "w")
    for number, data in enumerate(AWKWARD):
        label = float(number) if number % 2 else [float(number), 9.0]
        writer.write(recordio.pack(recordio.IRHeader(0, label, number, 0), data))
    writer.close()
    return found


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    framework, where, source = sys.argv[1:]
    print(json.dumps({"tf-horovod": with_tensorflow, "mxnet": with_mxnet}[framework](Path(where), source)))
