"""A bare script over an engine's own API: opens an ONNX file, runs it, prints samples per second. No dlcompare.

    python bare_engine.py onnxruntime|openvino FILE BATCH THREADS RUNS
"""

import json
import sys
import time

import numpy as np


def onnxruntime_runner(file, threads):  # type: ignore[no-untyped-def]
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    return image.shape[1:], lambda x: session.run(None, {image.name: x})


def openvino_runner(file, threads):  # type: ignore[no-untyped-def]
    import openvino

    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(file, "CPU", settings)
    request = model.create_infer_request()
    return list(model.input(0).get_partial_shape().get_max_shape())[1:], lambda x: request.infer({0: x})


def main() -> None:
    engine, file, batch, threads, runs = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
    shape, run = {"onnxruntime": onnxruntime_runner, "openvino": openvino_runner}[engine](file, threads)
    x = np.random.default_rng(0).standard_normal((batch, *shape)).astype(np.float32)
    for _ in range(3):
        run(x)
    rates = []
    for _ in range(5):
        begin = time.perf_counter()
        for _ in range(runs):
            run(x)
        rates.append(batch * runs / (time.perf_counter() - begin))
    print(json.dumps({"rates": rates, "median": sorted(rates)[2]}))


if __name__ == "__main__":
    main()
