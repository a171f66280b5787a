"""The network to infer with: what its file lacks or holds besides is said, and NaN is refused before any work."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from dlcompare.core.errors import UsageError
from dlcompare.core.graph.params import initial_params, write_params
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.variables import JOB, WEIGHTS
from dlcompare.inference.cell.request import InferenceRequest
from dlcompare.inference.kind.request import complete
from dlcompare.inference.onnx.network import Network, network
from dlcompare.inference.onnx.source import Source
from dlcompare.inference.preparation.preparation import with_other_classes

PARAMS = initial_params(plugins().model("resnet18").graph(32, classes=10), 1)


def read(folder: Path, params: dict[str, np.ndarray], **source: object) -> Network:
    write_params(folder / "w.safetensors", params)
    (folder / "out").mkdir()
    about = {"model": "resnet18", "image_size": 32, "classes": 10, **source}
    return network(Source(weights=str(folder / "w.safetensors"), **about), folder / "out")  # type: ignore[arg-type]


def test_a_file_that_fits_is_named_alone(tmp_path: Path) -> None:
    found = read(tmp_path, PARAMS)
    assert found.origin == str(tmp_path / "w.safetensors") and found.trained and found.classes == 10
    assert found.inputs["label"].high == 10


def test_what_a_file_lacks_or_holds_besides_is_said_with_its_name(tmp_path: Path) -> None:
    bare = {name: array for name, array in PARAMS.items() if not name.startswith("fc.")}
    found = read(tmp_path, bare | {"n_averaged": np.ones(1, np.float32)}, seed=5)
    assert found.origin.endswith("; drawn from seed 5: fc.weight, fc.bias; left unread: n_averaged")
    assert not found.trained


def test_only_what_answers_depend_on_makes_a_network_untrained(tmp_path: Path) -> None:
    params = initial_params(plugins().model("googlenet").graph(64), 1)
    bare = {name: array for name, array in params.items() if not name.startswith("aux")}
    found = read(tmp_path, bare, model="googlenet", image_size=64, classes=None)
    assert found.trained and "drawn from seed 0: aux1.conv.conv.weight" in found.origin


def test_nan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'bn1.running_var' are not finite"):
        read(tmp_path, PARAMS | {"bn1.running_var": np.full(64, np.nan, np.float32)})


def test_a_run_says_how_many_classes_it_trained(tmp_path: Path) -> None:
    job = '{"model": "resnet18", "image_size": 32, "classes": 10, "framework": "jax", "data": "digits"}'
    (tmp_path / JOB).write_text(job)
    write_params(tmp_path / WEIGHTS, PARAMS)
    (tmp_path / "out").mkdir()
    assert network(Source(run=tmp_path), tmp_path / "out").classes == 10


def test_classes_of_an_onnx_file_are_its_own() -> None:
    with pytest.raises(UsageError, match="--classes is for networks of dlcompare's own"):
        Source(onnx=Path("x.onnx"), classes=10)


def test_one_of_ours_tells_as_many_classes_apart_as_its_weights_or_the_data(tmp_path: Path) -> None:
    write_params(tmp_path / "w.safetensors", initial_params(plugins().model("resnet18").graph(32, classes=12), 1))
    asked = InferenceRequest(model="resnet18", engines=("onnxruntime",), data="digits", image_size=32)
    for more, classes in (({}, 10), ({"weights": str(tmp_path / "w.safetensors")}, 12), ({"classes": 11}, 11),
                          ({"data": "synthetic", "precisions": ("fp32",)}, None)):
        assert complete(dataclasses.replace(asked, **more)).source.classes == classes  # type: ignore[arg-type]


def test_another_number_of_classes_than_the_data_have_is_said(tmp_path: Path) -> None:
    found = read(tmp_path, PARAMS)
    assert with_other_classes(found, "digits") == with_other_classes(found, "synthetic") == found
    assert with_other_classes(found, "shapes").origin == f"{found.origin}; tells 10 classes apart, and shapes has 20"


@pytest.mark.parametrize("job", ["[]", "null", "{}", "\x80", '{"framework": 3}', '{"framework": "a", "model": []}',
                                 '{"framework": "a", "model": "b", "data": "c", "image_size": "x"}', "[" * 9999])
def test_a_run_whose_job_is_none_is_refused(job: str, tmp_path: Path) -> None:
    (tmp_path / "params.safetensors").touch()
    (tmp_path / "job.json").write_bytes(job.encode("latin-1"))
    with pytest.raises(UsageError, match="not the job of a training"):
        network(Source(run=tmp_path), tmp_path)
