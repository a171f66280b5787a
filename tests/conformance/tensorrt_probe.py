"""What TensorRT itself has and says without a GPU: prints it as JSON. Runs in the environment of TensorRT 8.5."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

import tensorrt as trt

from dlcompare.core.errors import JobError
from dlcompare.inference.engines.tensorrt import building, cudart
from dlcompare.inference.engines.tensorrt.calibrator import Calibrator, whole_batches
from dlcompare.inference.engines.tensorrt.session import TensorRTSession
from dlcompare.inference.engines.tensorrt.versions import api_of, expected_api, missing


def reason(call: Callable[[], object]) -> str:
    try:
        call()
    except JobError as error:
        return str(error)
    return ""


print(json.dumps({
    "version": trt.__version__, "api": asdict(api_of(trt)), "expected": asdict(expected_api(trt.__version__)),
    "missing": missing(trt), "cudart": next(iter(cudart.libraries())), "builder": reason(building.new_builder),
    "cuda": reason(building.cuda), "logged": building.LOG.lines, "session": TensorRTSession.__name__,
    "calibrator": issubclass(Calibrator, trt.IInt8EntropyCalibrator2), "few": reason(lambda: whole_batches((1, 2))),
    "batches": [len(batch) for batch in whole_batches(tuple(range(60)))]}))
