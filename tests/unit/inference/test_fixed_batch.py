"""A network of one batch size alone, run with batches of every size, by real onnxruntime sessions."""

from __future__ import annotations

from typing import Any

import numpy as np
import own_files
import pytest

from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Input
from dlcompare.core.plugins.engine import Ran, Session
from dlcompare.core.plugins.inference_job import InferenceJob
from dlcompare.core.plugins.registry import plugins
from dlcompare.inference.cell.request import InferenceRequest
from dlcompare.inference.kind.request import complete, refusal
from dlcompare.inference.worker.fixed_batch import any_batch


class Direct(Session):
    """A session of onnxruntime as it is installed beside the tests; ``rows`` are the batches it was given."""

    def __init__(self, model: Any) -> None:
        self.model, self.rows, self.results = model, list[int](), list[np.ndarray]()

    def run(self, placed: Any) -> None:
        self.rows.append(len(placed["x"]))
        self.results = own_files.answers(self.model, **placed)

    def fetch(self) -> dict[str, np.ndarray]:
        return {"y": self.results[0]}

    def ran(self) -> Ran:
        return Ran("fp32", 2)

    def settings(self) -> dict[str, Any]:
        return {"threads": 1}

    def versions(self) -> dict[str, str]:
        return {}


@pytest.mark.parametrize("fixed", [1, 2, 4])
@pytest.mark.parametrize("number", [1, 4, 5])
def test_answers_are_those_of_an_open_batch(fixed: int, number: int) -> None:
    x = own_files.images(number)
    session = Direct(own_files.network(x=(fixed, 3, 8, 8)))
    job = InferenceJob(engine="onnxruntime", model="mine", inputs={"x": Input((3, 8, 8))}, fixed_batch=fixed)
    one = any_batch(session, job)
    one.run(one.place({"x": x}))
    one.wait()
    np.testing.assert_allclose(one.fetch()["y"], own_files.answers(own_files.network(), x=x)[0], rtol=1e-5, atol=1e-6)
    assert set(session.rows) == {fixed} and len(session.rows) == -(-number // fixed)
    assert "fixed" in one.settings()["batch"]


def test_other_batches_are_refused_and_the_default_is_the_fixed_one(tmp_path: Any) -> None:
    path = own_files.written(tmp_path, own_files.network(x=(4, 3, 8, 8)))
    asked = complete(InferenceRequest(onnx=str(path), engines=("onnxruntime",), data="digits"))
    assert asked.batches == (4,) and asked.fixed_batch == 4
    engine = plugins().engine("onnxruntime")
    reasons = [refusal(engine, InferenceJob(engine="onnxruntime", model="mine", batch=n), asked) for n in (4, 8)]
    assert reasons[0] is None and "takes batches of 4 alone; use --batch 4" in str(reasons[1])


def test_options_of_a_users_own_file_need_one() -> None:
    with pytest.raises(UsageError, match="give --onnx FILE"):
        complete(InferenceRequest(model="resnet18", engines=("onnxruntime",), output="y"))
