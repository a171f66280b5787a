"""An engine that computes an INT8 file otherwise than the file says is found out, and the first such layer named."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import int8
import numpy as np
import onnx
import pytest
from in_process import Bench
from onnx import numpy_helper

from dlcompare.core.errors import JobError
from dlcompare.core.plugins.registry import plugins
from dlcompare.inference.onnx.export import save
from dlcompare.inference.precision.histograms import instrument
from dlcompare.inference.precision.parting import first_apart, layer_rows, watch, watched
from dlcompare.inference.precision.quantise import quantise
from dlcompare.inference.precision.ranges import ranges
from dlcompare.inference.preparation.audit import Audits
from dlcompare.inference.preparation.exact import Exact

LAYER = "conv2"
ENGINE = plugins().engine("onnxruntime")


@cache
def eight_bits() -> onnx.ModelProto:
    """Return a small network in INT8, its weights in 7 bits: right on every CPU."""
    model = int8.residual()
    return quantise(model, ranges(int8.calibrated(model, images(40)), "minmax"), scheme="u8s8", weight_bits=7)


def images(number: int) -> np.ndarray:
    return int8.images(int8.residual(), number)


def saturated(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the file that an engine seems to run whose sums fall short in one layer."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for tensor in made.graph.initializer:
        if tensor.name == f"{LAYER}/weight/quantised":
            held = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(np.clip(held, -20, 20), tensor.name))
    return made


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Return the files in INT8 and in FP32."""
    made = tmp_path / "int8-u8s8-w7.onnx", tmp_path / "fp32.onnx"
    for file, model in zip(made, (eight_bits(), int8.residual()), strict=True):
        save(model, file)
    return made


@pytest.mark.parametrize("faulty", [True, False])
def test_an_engine_is_held_against_exact_arithmetic_of_the_very_same_file(faulty: bool, files: tuple[Path, Path],
                                                                          tmp_path: Path) -> None:
    bench = Bench(tmp_path, images(8), {ENGINE.name: saturated} if faulty else {})
    found = Audits(Exact(bench)).audit(ENGINE, *files)
    assert found["deviates"] == faulty and found["samples"] == 8 and found["reason"] is None
    assert found["layer"] == (LAYER if faulty else None) and (found["steps"] or 0) > (1 if faulty else -1)
    assert (found["sqnr_db"] < found["exact_db"] - 3) == faulty
    assert len(bench.labels) == (4 if faulty else 2), "layers are looked at where something is wrong alone"
    assert sorted(path.name for path in tmp_path.glob("*.onnx")) == ["fp32.onnx", "int8-u8s8-w7.onnx"]


def test_a_file_is_audited_once_and_exact_answers_are_not_asked_for_twice(files: tuple[Path, Path],
                                                                          tmp_path: Path) -> None:
    audits = Audits(Exact(Bench(tmp_path, images(8))))
    assert audits.audit(ENGINE, *files) is audits.audit(ENGINE, *files)
    audits.audit(plugins().engine("openvino"), *files)
    assert audits.exact.preparation.labels == [  # type: ignore[attr-defined]
        "int8-u8s8-w7, exact arithmetic", "onnxruntime int8 audit", "openvino int8 audit"]


def test_what_cannot_be_audited_says_why(files: tuple[Path, Path], tmp_path: Path) -> None:
    bench = Bench(tmp_path, images(0))
    found = Audits(Exact(bench)).audit(ENGINE, *files)
    assert found == {"file": files[0].name, "deviates": None, "reason": "there are no real samples to judge INT8 by"}
    with pytest.raises(JobError, match="no real samples"):
        Exact(bench).answers({"int8": files[0]}, "")


@pytest.mark.parametrize("scheme", ["u8s8", "s8s8"])
def test_fused_kernels_are_not_told_apart_from_the_file_where_weights_take_seven_bits(scheme: str) -> None:
    """They round otherwise, a step here and there, and deeper layers see that; it must be no alarm."""
    model = int8.residual()
    made = quantise(model, ranges(int8.calibrated(model, images(40)), "minmax"), scheme=scheme, weight_bits=7)
    seen, names = watched(made), [one.tensor for one in watched(made)]
    assert seen[0].layer == "conv1" and len(seen) > 2 and all(one.step > 0 for one in seen)
    fused, exact = (dict(zip(names, int8.session(watch(made), level=level).run(names, {"image": images(8)}),
                             strict=True)) for level in ("ENABLE_ALL", "DISABLE_ALL"))
    assert first_apart(seen, exact, fused) is None


@pytest.mark.parametrize("scheme", ["u8s8", "s8s8"])
def test_layers_are_shown_beside_fp32_with_what_their_ranges_cut_off(scheme: str) -> None:
    model = int8.residual()
    found = ranges(int8.calibrated(model, images(40)), "minmax", scheme=scheme)
    found["relu2"] = (0.0, found["relu2"][1] / 4)
    made = quantise(model, found, scheme=scheme)
    seen = watched(made)

    def answers(one: onnx.ModelProto) -> dict[str, np.ndarray]:
        opened = int8.session(one, level="DISABLE_ALL")
        names = [value.name for value in opened.get_outputs()]
        return dict(zip(names, opened.run(names, {"image": images(8)}), strict=True))

    fp32 = answers(instrument(model, [one.source for one in seen]))
    rows = {row["tensor"]: row for row in layer_rows(seen, fp32, answers(watch(made)))}
    first, last = next(iter(rows.values())), rows["logits"]
    assert first["layer"] == "conv1" and rows["relu2"]["layer"] == "conv2" and list(rows)[-1] == "logits"
    assert rows["relu2"]["outside"] > 0.01 > first["outside"] == 0
    assert rows["relu2"]["largest"] > 20 > first["largest"] and last["largest"] is None
    assert first["sqnr_db"] > 30 > rows["relu2"]["sqnr_db"] > 0 and last["sqnr_db"] > 0
