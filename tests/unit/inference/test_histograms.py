"""The collector counts what is there, whatever the batches; its artifact comes back as it was, and only to its network.
"""

from __future__ import annotations

import re
import tracemalloc
from pathlib import Path

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import int8
import numpy as np
import pytest
from hypothesis import given

from dlcompare.core.errors import JobError, UsageError
from dlcompare.inference.precision.histograms import BINS, Artifact, Collector, Observed, instrument
from dlcompare.inference.precision.samples import ids_sha256

LEAST, LARGEST = 2.0**-149, float(np.finfo(np.float32).max)  # beside LARGEST, what is small rounds to zero
FINITE = (st.floats(-LARGEST, LARGEST, width=32) | st.floats(-4, 4, width=32)
          | st.sampled_from([-LARGEST, -1e30, -1e-38, -LEAST, -0.0, LEAST, 1e-38, 1e30, LARGEST]))


def observed(*batches: np.ndarray, bins: int = BINS) -> Observed:
    collector = Collector(["x"], bins)
    for number, batch in enumerate(batches):
        collector.add({"x": batch, "other": batch}, samples=[number])
    return collector.artifact({}).tensors["x"]


def same(one: Observed, other: Observed) -> bool:
    return (np.array_equal(one.counts, other.counts) and np.array_equal(one.channels, other.channels)
            and (one.limit, one.low, one.high) == (other.limit, other.low, other.high))


def test_counts_are_those_of_all_data_at_once() -> None:
    random = np.random.default_rng(1)
    data = (random.standard_normal((50, 3, 40, 41)) * np.array([0.1, 1, 30])[:, None, None]).astype(np.float32)
    seen = observed(data[:1] / 100, data[1:30], data[30:])
    whole = np.concatenate([data[:1] / 100, data[1:]])
    edges = np.linspace(-seen.limit, seen.limit, BINS + 1)
    assert np.array_equal(seen.counts, np.histogram(whole.astype(np.float64), edges)[0])
    assert seen.count == whole.size
    assert (seen.low, seen.high) == (whole.min(), whole.max())
    assert np.array_equal(seen.channels, np.abs(whole).max(axis=(0, 2, 3)))
    assert seen.limit / 2 <= np.abs(whole).max() < seen.limit


@given(arrays.arrays(np.float32, st.tuples(st.integers(1, 9), st.just(2), st.integers(1, 3), st.just(2)),
                     elements=FINITE), st.randoms(), st.integers(1, 9))
def test_neither_order_nor_batches_matter_to_the_last_bit(data: np.ndarray, random: object, size: int) -> None:
    order = list(range(len(data)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = data[order]
    parts = [shuffled[begin:begin + size] for begin in range(0, len(data), size)]
    whole = observed(data, bins=64)
    assert same(whole, observed(*parts, bins=64))
    exact = np.floor(data.astype(np.float64) * (32 / whole.limit)).astype(int) + 32
    assert np.array_equal(whole.counts, np.bincount(exact.reshape(-1), minlength=64))


@pytest.mark.parametrize(("shape", "channels"), [
    ((4, 3, 5, 5), (0, 2, 3)), ((4, 3), (0,)), ((4, 7, 3), (0, 1)), ((4, 3, 2, 2, 2), (0, 2, 3, 4))])
def test_channels_are_axis_1_or_a_sequences_last(shape: tuple[int, ...], channels: tuple[int, ...]) -> None:
    data = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    assert np.array_equal(observed(data).channels, np.abs(data).max(axis=channels))


def test_zeros_and_nothing_at_all() -> None:
    zeros = observed(np.zeros((2, 3), np.float32))
    assert zeros.counts[BINS // 2] == zeros.count == 6 and zeros.high == 0
    assert observed().count == 0 and observed(np.zeros((0, 3), np.float32)).count == 0
    grown = observed(np.zeros((2, 3), np.float32), np.full((1, 3), 1e6, np.float32))
    assert grown.counts[BINS // 2] == 6 and grown.count == 9


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named_with_its_samples(bad: float) -> None:
    collector = Collector(["good", "conv1"])
    values = np.ones((2, 3, 4, 4), np.float32)
    spoiled = values.copy()
    spoiled[1, 2, 0, 0] = bad
    collector.add({"good": values, "conv1": values}, samples=[3, 9])
    wanted = f"'conv1' holds {int(np.isnan(bad))} NaN and {int(np.isinf(bad))} infinite values .* samples 17, 4;"
    with pytest.raises(JobError, match=wanted):
        collector.add({"good": values, "conv1": spoiled}, samples=[17, 4])


def test_a_tensor_that_was_not_returned_is_named() -> None:
    with pytest.raises(JobError, match=r"no tensor 'x'.*returned: y"):
        Collector(["x"]).add({"y": np.ones(1)}, samples=[0])


def test_memory_does_not_grow_with_the_data() -> None:
    batch, collector = np.random.default_rng(3).standard_normal((8, 64, 32, 32)).astype(np.float32), Collector(["x"])
    collector.add({"x": batch}, samples=[])
    tracemalloc.start()
    for _ in range(20):
        collector.add({"x": batch}, samples=[])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < batch.nbytes  # of which 20 went through


def saved(tmp_path: Path) -> tuple[Path, Artifact]:
    collector = Collector(["a/b:0", "../c", "never"])
    collector.add({"a/b:0": np.ones((2, 3), np.float32), "../c": np.full((2, 5), -2, np.float32),
                   "never": np.zeros((0, 3), np.float32)}, samples=[5, 7])
    artifact = collector.artifact({"sha256": "feed", "data": "digits", "train": True, "samples": [5, 7], "seed": 1})
    artifact.save(tmp_path / "calibration.npz")
    return tmp_path / "calibration.npz", artifact


def test_an_artifact_comes_back_as_it_was(tmp_path: Path) -> None:
    file, artifact = saved(tmp_path)
    back = Artifact.load(file, sha256="feed")
    assert back.meta == artifact.meta
    assert back.meta["samples_sha256"] == ids_sha256([5, 7]) and back.meta["number"] == 2
    assert list(back.tensors) == ["a/b:0", "../c", "never"]
    assert all(same(back.tensors[name], artifact.tensors[name]) for name in back.tensors)
    assert [file.name for file in tmp_path.iterdir()] == ["calibration.npz"]


def test_another_networks_artifact_is_refused(tmp_path: Path) -> None:
    file, _ = saved(tmp_path)
    with pytest.raises(UsageError, match=re.escape("another network (feed), not of this one (beef)")):
        Artifact.load(file, sha256="beef")
    assert Artifact.load(file).meta["sha256"] == "feed"


@pytest.mark.parametrize("spoil", [lambda data: b"", lambda data: data[:200], lambda data: b"x" * 50])
def test_damaged_artifacts_are_refused(tmp_path: Path, spoil: object) -> None:
    file, _ = saved(tmp_path)
    file.write_bytes(spoil(file.read_bytes()))  # type: ignore[operator]
    with pytest.raises(UsageError, match="not a calibration that can be read"):
        Artifact.load(file)


def test_a_missing_or_strange_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a calibration that can be read"):
        Artifact.load(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", weights=np.ones(3))
    with pytest.raises(UsageError, match="not a calibration that can be read"):
        Artifact.load(tmp_path / "other.npz")


def test_instrumented_networks_return_their_tensors_and_answer_the_same() -> None:
    model = int8.residual()
    image = int8.images(model, 3)
    tensors = ["image", "relu1", "conv3"]
    watched = instrument(model, tensors)
    logits, *found = int8.session(watched).run(["logits", *tensors], {"image": image})
    assert np.array_equal(found[0], image)
    assert found[1].shape == (3, 8, 8, 8) and found[1].min() == 0
    np.testing.assert_allclose(logits, int8.run(model, image), rtol=1e-5, atol=1e-6)
    assert len(model.graph.output) == 1
    with pytest.raises(UsageError, match="no tensor 'conv9'"):
        instrument(model, ["conv9"])
