"""Everything that reads a file of others, with real files of each kind, for those who damage them.

A reader returns, or raises one of our errors; whatever else it raises is a fault. The first sample of each is read.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import io
import json
import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from safetensors.numpy import save as as_safetensors

from dlcompare.core.errors import DlcompareError
from dlcompare.core.graph import Graph, Input
from dlcompare.core.graph.ops import Tensor, trace
from dlcompare.core.graph.params import classes_in, initial_params, load_weights

RESULTS, GOLDEN = Path(__file__).parents[1] / "docs" / "results", Path(__file__).with_name("golden")
ODD: tuple[Any, ...] = (None, True, -1, 0, 2**62, 1e308, float("nan"), "", "x" * 300, "../../x", "\x1b[2J=1", [], {},
                        [[]], {"a": {}}, [None], "2026-11-25T10:00:00+00:00")


@dataclass(frozen=True)
class Reader:
    """``read`` is given a folder and the path of a file in it, whose content is one of ``samples``, damaged."""

    name: str
    file: str
    samples: Callable[[], list[bytes]]
    read: Callable[[Path], object]
    damage: Callable[[bytes, random.Random], bytes]

    def survives(self, data: bytes, folder: Path) -> None:
        """Read what is left of a file; raises whatever no reader may."""
        path = folder / self.file
        path.write_bytes(data)
        with contextlib.suppress(DlcompareError):
            self.read(path)


def damage_bytes(data: bytes, chance: random.Random) -> bytes:
    """Return data with some bytes flipped, cut out, repeated, or put in from elsewhere."""
    found = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        place, length = chance.randrange(len(found) + 1), chance.choice((1, 1, 2, 4, 8, 64))
        piece = found[place:place + length]
        match chance.randrange(5):
            case 0:
                found[place:place + length] = bytes(chance.randrange(256) for _ in piece)
            case 1:
                del found[place:place + length * chance.choice((1, 100))]
            case 2:
                found[place:place] = piece * chance.choice((1, 2, 50))
            case 3:
                found[place:place + length] = chance.choice((b"\xff", b"\x00", b"\x7f")) * len(piece)
            case 4:
                other = chance.randrange(len(found) + 1)
                found[place:place + length] = found[other:other + length]
    return bytes(found)


def damage_json(data: bytes, chance: random.Random) -> bytes:
    """Return JSON in which some values are others, are gone, or stand in another's place; sometimes just bytes."""
    if chance.random() < 0.8:
        with contextlib.suppress(ValueError, RecursionError):  # an input that is no JSON, or far too deep
            return json.dumps(damage_tree({"": json.loads(data)}, chance).get("")).encode()
    return damage_bytes(data, chance)


def damage_tree(tree: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    for _ in range(chance.choice((1, 1, 2, 5))):
        places = list(walk(tree))
        holder, key = chance.choice(places)
        if holder is not tree and chance.random() < 0.25:
            del holder[key]
        else:
            other, name = chance.choice(places)
            holder[key] = copy.deepcopy(chance.choice((other[name], *ODD)))
    return tree


def walk(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the place of each value: what holds it, and under which key."""
    for key in tree if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        if isinstance(tree[key], (dict, list)):
            yield from walk(tree[key])


def small(image: Tensor, label: Tensor) -> dict[str, Tensor]:
    x = image.conv(2, kernel=3, pad=1, name="conv").batch_norm(name="bn").flatten(name="flatten")
    logits = x.dense(3, name="fc")
    return {"logits": logits, "loss": logits.cross_entropy(label, name="loss")}


def network() -> Graph:
    return trace("small", small, {"image": Input((3, 4, 4)), "label": Input((), "int64", "label", high=3)})


def read_weights(path: Path) -> None:
    graph = network()
    with contextlib.suppress(DlcompareError):
        classes_in(path, graph)
    load_weights(path, graph)


def state_dicts() -> list[bytes]:
    """Return files that a real PyTorch wrote; the first holds just the network's parameters."""
    others = sorted(set(GOLDEN.glob("state_dicts/*.*")) - {GOLDEN / "state_dicts" / "mixed.pt"})
    return [path.read_bytes() for path in (GOLDEN / "state_dicts" / "mixed.pt", *others)]


def read_onnx(path: Path) -> None:
    from dlcompare.inference.onnx.network import network as network_of
    from dlcompare.inference.onnx.source import Source

    network_of(Source(onnx=path), path.parent)


def onnx_file() -> bytes:
    from dlcompare.inference.onnx.export import export

    graph = network()
    model: onnx.ModelProto = export(graph, initial_params(graph, 0))
    return bytes(model.SerializeToString())


def read_records(path: Path) -> None:
    """Read records and show them in every form, as ``report`` and ``compare`` do."""
    from dlcompare.core.judging.judging import Judging
    from dlcompare.core.kinds.kind import Answer, kind
    from dlcompare.core.reports.proof import distrust
    from dlcompare.core.run.stored import by_kind, naming, read

    found = by_kind(read(path))
    for name, records in found.items():
        list(distrust(records))
        for form in kind(name).forms:
            for judging in (None, Judging()):
                with naming(str(path)):
                    kind(name).report(Answer(records), form, judging).encode(errors="replace")


def read_plan(path: Path) -> None:
    from dlcompare.core.plan.plan import Plan
    from dlcompare.core.run.folder import resumable

    resumable(Plan("training", (), {}), path.parent.parent)


def read_certificate(path: Path) -> None:
    from dlcompare.core.conformance.claims import Certificates, examined
    from dlcompare.core.kinds.training.result import TrainingRecord

    held = json.loads(*published("2026-11-25-resnet50-cpu/records.json"))[0]
    name = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    record = TrainingRecord.from_dict({**held, "verified": {**held["verified"], "certificate": name}})
    examined(record, Certificates(path.parent))


def read_histograms(path: Path) -> None:
    from dlcompare.inference.precision.histograms import Artifact

    Artifact.load(path)


def histograms() -> bytes:
    from dlcompare.inference.precision.histograms import Collector

    collector, chance = Collector(("x", "y"), bins=64), np.random.default_rng(0)
    collector.add({name: chance.normal(size=(4, 3, 2, 2)).astype(np.float32) for name in "xy"}, samples=range(4))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calibration.npz"
        collector.artifact({"sha256": "0", "samples": ["a", "b"]}).save(path)
        return path.read_bytes()


def shard(name: str) -> list[bytes]:
    """Return a shard of three samples."""
    from dlcompare.core.data.records.formats import FORMATS
    from dlcompare.core.data.records.sample import Sample

    out = io.BytesIO()
    for row in range(3):
        FORMATS[name].put(out, Sample(f"train/ant/{row}.jpg", row, row, b"image" * (100 * row + 1)))
    return [out.getvalue() + FORMATS[name].end]


def read_shard(path: Path) -> None:
    """Walk through a shard, and read what was found where that was said to be well."""
    from dlcompare.core.data.records.formats import FORMATS, encoded

    name = next(name for name, about in FORMATS.items() if about.suffix == path.suffix)
    for one in FORMATS[name].walk(path):
        if not one.damage:
            encoded([name, str(path), one.offset, None])


def shard_index() -> bytes:
    return json.dumps([[0, 100 * row, None, row, f"train/ant/{row}.jpg"] for row in range(3)]).encode()


def read_index(path: Path) -> None:
    """Read an index below a manifest that speaks of the whole one."""
    from dlcompare.core.data.records.index import Manifest, ids_sha256, indexed, prepared

    rows = json.loads(shard_index())
    split = {"samples": 3, "shards": [{"file": "train-00000.tfrecord", "bytes": 300, "samples": 3}],
             "ids_sha256": ids_sha256([row[4] for row in rows], [row[3] for row in rows])}
    indexed.cache_clear()
    prepared(path.parent, Manifest("tfrecord", "imagefolder:/x", ("ant", "bee", "cat"), {"train": split}), train=True)


def records() -> list[bytes]:
    """Return records of every kind that is published, some of them in rounds."""
    alone = [one for name in ("2026-11-25-resnet50-cpu/records.json", "2026-11-24-four-cpu/target.json",
                              "2026-11-25-minilm-int8/records.json") for one in json.loads(*published(name))[:2]]
    rounds = json.loads(*published("2026-11-24-four-cpu/verdict.json"))[:8]
    return [*(json.dumps([one]).encode() for one in alone), json.dumps(rounds).encode()]


def published(*names: str) -> list[bytes]:
    return [(RESULTS / name).read_bytes() for name in names]


def saved() -> bytes:
    return as_safetensors(initial_params(network(), 0))


def small_certificate() -> bytes:
    held = json.loads(*published("2026-11-25-resnet50-cpu/certificate-tf-horovod-w2.json"))
    return json.dumps({**held, "checks": held["checks"][:3]}).encode()


READERS = {one.name: one for one in (
    Reader("safetensors", "w.safetensors", lambda: [saved()], read_weights, damage_bytes),
    Reader("pytorch", "w.pt", state_dicts, read_weights, damage_bytes),
    Reader("onnx", "net.onnx", lambda: [onnx_file()], read_onnx, damage_bytes),
    Reader("records", "records.json", records, read_records, damage_json),
    Reader("inference.json", "inference.json", lambda: published(
        "2026-11-24-inference/accuracy-resnet18-digits-mse.json"), read_records, damage_json),
    Reader("plan", "plan.json", lambda: published("2026-11-21-resnet50-cpu/plan.json"), read_plan, damage_json),
    Reader("certificate", "certificate-x.json", lambda: [small_certificate()], read_certificate, damage_json),
    *(Reader(name, f"train{ending}", functools.partial(shard, name), read_shard, damage_bytes)
      for name, ending in (("tfrecord", ".tfrecord"), ("recordio", ".rec"), ("webdataset", ".tar"))),
    Reader("shard index", "index-train.json", lambda: [shard_index()], read_index, damage_json),
    Reader("histograms", "calibration.npz", lambda: [histograms()], read_histograms, damage_bytes),
)}
