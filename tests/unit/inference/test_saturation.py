"""Kernels that add pairs of products in 16 bits are found out, and what is asked of them is exact in seven bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import int8
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from dlcompare.core.plugins.engine import Engine, Ran, Session
from dlcompare.core.plugins.inference_job import InferenceJob
from dlcompare.core.plugins.registry import plugins
from dlcompare.inference.precision.saturation import HIGHEST, INPUTS, LAYERS, question, saturating, shares
from dlcompare.inference.preparation.model_files import Files
from dlcompare.inference.preparation.weight_bits import Probes

INT16 = np.iinfo(np.int16)


class Paired(Session):
    """Computes a question as AVX2's kernels do: neighbouring products are added and cut at 16 bits, then all in 32."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.held = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self.placed: Mapping[str, np.ndarray] = {}

    def run(self, placed: Mapping[str, np.ndarray]) -> None:
        self.placed = placed

    def fetch(self) -> dict[str, np.ndarray]:
        return {name: self.layer(name, read, dense=len(shape) == 2) for name, (read, shape) in LAYERS.items()}

    def layer(self, name: str, read: str, *, dense: bool) -> np.ndarray:
        """Return one number for each channel: inputs are the same everywhere."""
        weight = self.held[f"{name}/weight/quantised"].astype(int)
        rows = weight.T if dense else weight.reshape(len(weight), -1)
        level = np.rint(self.placed[read].max() / self.held[f"{read}/scale"]).astype(int)
        products = level * np.pad(rows, ((0, 0), (0, rows.shape[1] % 2)))
        pairs = np.clip(products[:, ::2] + products[:, 1::2], INT16.min, INT16.max)
        return pairs.sum(axis=1) * self.held[f"{read}/scale"] * self.held[f"{name}/weight/scale"]

    def ran(self) -> Ran:
        return Ran("int8", len(LAYERS))

    def settings(self) -> dict[str, Any]:
        return {}

    def versions(self) -> dict[str, str]:
        return {}


def test_pairs_that_saturate_are_found_in_every_kind_of_layer_and_seven_bits_mend_them() -> None:
    found = shares(Paired(question()), INPUTS)
    assert saturating(found) == found and found.keys() == LAYERS.keys()
    assert found["Conv 1x1"] == pytest.approx(INT16.max / (2 * 255 * 127))
    mended = shares(Paired(question(weight_bits=7)), INPUTS)
    assert list(mended.values()) == pytest.approx([1] * len(LAYERS)) and not saturating(mended)


@pytest.mark.parametrize("bits", [8, 7])
def test_in_the_files_own_arithmetic_every_layer_answers_the_highest_value(bits: int) -> None:
    feeds = {name: np.full((2, *spec.shape), HIGHEST, np.float32) for name, spec in INPUTS.items()}
    for value in int8.exact(question(weight_bits=bits), feeds):
        assert value == pytest.approx(HIGHEST, rel=1e-5)


@dataclass(frozen=True)
class Done:
    result: Any = None
    reason: str | None = None


class Asked:
    """Stands for a preparation that starts jobs: gives one answer and counts how often it was asked."""

    def __init__(self, done: Done, models: Path) -> None:
        self.done, self.models, self.labels = done, models, list[str]()

    def blank(self, engine: Engine, **more: Any) -> InferenceJob:
        return InferenceJob(engine.name, "saturation", **more)

    def job(self, job: InferenceJob, file: Path) -> InferenceJob:
        assert file.is_file() and job.task == "probe" and job.precision == "int8"
        return job

    def do(self, _job: InferenceJob, label: str) -> Done:
        self.labels.append(label)
        return self.done


@pytest.fixture
def probes(tmp_path: Path) -> Callable[[Done], Probes]:
    return lambda done: Probes(Asked(done, tmp_path))  # type: ignore[arg-type]


def shared(**found: float) -> Done:
    return Done(SimpleNamespace(shares={name.replace("_", " "): share for name, share in found.items()}))


@pytest.mark.parametrize(("done", "bits", "short"), [
    (shared(Conv_3x3=0.506, Gemm=1.0), 7, {"Conv 3x3": 0.506}),
    (shared(Conv_3x3=1.0, Gemm=0.998), 8, {}),
    (Done(reason="out of memory"), 7, {}),  # not known: seven bits are right everywhere
])
def test_an_engine_is_asked_once_and_its_weights_follow_the_answer(probes: Callable[[Done], Probes], done: Done,
                                                                   bits: int, short: dict[str, float]) -> None:
    asking, engine = probes(done), plugins().engine("onnxruntime")
    assert [asking.weight_bits(engine), asking.weight_bits(engine)] == [bits, bits]
    assert asking.found == {"onnxruntime": {"bits": bits, "saturating": short, "reason": done.reason}}
    assert asking.preparation.labels == ["onnxruntime int8 probe"]  # type: ignore[attr-defined]


def test_files_of_one_scheme_are_told_apart_by_the_bits_of_their_weights(tmp_path: Path) -> None:
    network: Any = SimpleNamespace(model=int8.residual(), inputs=("image",))
    plan: Any = SimpleNamespace(equalise=False, calibrator="minmax", engine_calibrates=lambda _: False)
    bits = {"onnxruntime": 7, "openvino": 8, "tensorrt-emulated": 8}
    files = Files(tmp_path, network, plan, collect=None, weight_bits=lambda engine: bits[engine.name],
                  exact=None)  # type: ignore[arg-type]
    files._artifact = int8.calibrated(network.model, int8.images(network.model, 6))
    found = {name: files.path("int8", plugins().engine(name)) for name in bits}
    assert [file.name for file in found.values()] == ["int8-u8s8-w7.onnx", "int8-u8s8.onnx", "int8-s8s8.onnx"]
    levels = {name: max(np.abs(numpy_helper.to_array(t).astype(int)).max() for t in onnx.load(file).graph.initializer
                        if t.name.endswith("weight/quantised")) for name, file in list(found.items())[:2]}
    assert levels == {"onnxruntime": 64, "openvino": 127}
    less = files.int8(plugins().engine("onnxruntime"), exclude=frozenset({"relu2"}), name="-without-1")
    assert less.name == "int8-u8s8-w7-without-1.onnx"


@pytest.mark.parametrize("name", ["onnxruntime", "tensorrt-emulated"])
@pytest.mark.parametrize("bits", ["7", "8"])
def test_nobody_is_asked_where_a_user_has_set_the_bits(tmp_path: Path, name: str, bits: str) -> None:
    asking = Probes(Asked(Done(reason="must not be asked"), tmp_path), bits)  # type: ignore[arg-type]
    assert asking.weight_bits(plugins().engine(name)) == int(bits) and not asking.preparation.labels  # type: ignore[attr-defined]


def test_engines_of_signed_activations_are_not_asked(probes: Callable[[Done], Probes]) -> None:
    asking = probes(Done(reason="must not be asked"))
    assert asking.weight_bits(plugins().engine("tensorrt-emulated")) == 8
