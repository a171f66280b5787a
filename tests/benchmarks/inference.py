"""What inference is measured by: our throughput over a bare script's, INT8 over FP32, and the cost of calibration.

    python tests/benchmarks/inference.py overhead    [--model resnet18] [--rounds 3]   aim: at least 0.98
    python tests/benchmarks/inference.py gain        [--model resnet18,resnet50,vgg16] aim: 3.0, openvino 3.6
    python tests/benchmarks/inference.py calibration [--samples 1250]                  aim: 120 s, 2 GiB

Fresh processes throughout; pairs in an order drawn anew. Initial parameters do: speed does not depend on their values.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from dlcompare.core.environments import resolve
from dlcompare.core.plugins.registry import plugins

BARE = Path(__file__).with_name("bare_engine.py")
ENGINES = ("onnxruntime", "openvino")
FILES = {"fp32": "fp32.onnx", "int8": "int8-u8s8*.onnx"}  # its name tells where weights take 7 bits; speed is the same
Json = dict[str, Any]


def infer(folder: Path, *words: str) -> Json:
    """Run ``dlcompare infer`` and return its results."""
    argv = [sys.executable, "-m", "dlcompare.core", "infer", *words, "--out", str(folder), "--format", "json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"dlcompare failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def bare(engine: str, file: Path, *, batch: int, threads: int, runs: int) -> float:
    """Run the bare script in the engine's environment and return its samples per second."""
    python = resolve.resolve(None, plugins().engine(engine), "cpu", print)
    done = subprocess.run([str(python), str(BARE), engine, str(file), str(batch), str(threads), str(runs)],
                          capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1])["median"])


def overhead(args: argparse.Namespace, folder: Path) -> Json:
    """Return ours and bare samples per second by engine, precision, batch and threads, pair by pair."""
    found: Json = {}
    size = ("--model", args.model.split(",")[0], "--data", "digits", "--image-size", str(args.image_size))
    made = infer(folder, *size, "--engine", "onnxruntime", "--calibration-samples", "25", "--calibrate", "minmax",
                 "--batch", "1", "--windows", "1", "--window-seconds", "0.1", "--no-accuracy")
    artifact = next(folder.glob(f"{made['run']}/*/calibration.npz"))
    for threads, engine, batch in [(t, e, b) for t in args.threads for e in ENGINES for b in args.batches]:
        for _ in range(args.rounds):
            one: Json = {}
            for which in random.sample(["ours", "bare"], 2):
                if which == "ours":
                    one["ours"] = infer(folder, *size, "--engine", engine, "--batch", str(batch), "--threads",
                                        str(threads), "--calibration", str(artifact), "--calibrate", "minmax",
                                        "--no-accuracy", "--precision", args.precision)["speeds"]
                else:
                    models = folder / made["run"] / "models"
                    one["bare"] = {precision: bare(engine, next(models.glob(FILES[precision])), batch=batch,
                                                   threads=threads, runs=args.runs)
                                   for precision in args.precision.split(",")}
            for row in one["ours"]:
                key = f"{engine} {row['precision']} batch {batch}, {threads} thread(s)"
                found.setdefault(key, []).append({"ours": row["throughput"], "bare": one["bare"][row["precision"]],
                                                  "disturbed": row["disturbed"]})
        for key in [key for key in found if key.startswith(engine) and key.endswith(f"{batch}, {threads} thread(s)")]:
            ratios = sorted(one["ours"] / one["bare"] for one in found[key])
            print(f"{key}: ours / bare {statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})",
                  flush=True)
    return found


def gain(args: argparse.Namespace, folder: Path) -> Json:
    """Return the speeds of every model, engine, precision and batch."""
    found: Json = {}
    for model, threads in [(m, t) for m in args.model.split(",") for t in args.threads]:
        results = infer(folder, "--model", model, "--image-size", str(args.image_size), "--data", "digits",
                        "--engine", ",".join(ENGINES), "--batch", ",".join(map(str, args.batches)), "--threads",
                        str(threads), "--calibration-samples", "25", "--no-accuracy", "--rounds", str(args.rounds),
                        "--windows", "3", "--window-seconds", "0.6")
        rows = {(row["engine"], row["precision"], row["batch"]): row for row in results["speeds"]}
        found[f"{model}, {threads} thread(s)"] = results["speeds"]
        for engine, batch in [(e, b) for e in ENGINES for b in args.batches]:
            fp32, int8 = rows[engine, "fp32", batch], rows[engine, "int8", batch]
            print(f"{model} {engine} batch {batch}, {threads} thread(s): FP32 {fp32['throughput']:.1f}, INT8 "
                  f"{int8['throughput']:.1f} samples/s, x {int8['throughput'] / fp32['throughput']:.2f}; not in INT8: "
                  f"{', '.join(int8['ran']['left']) or 'nothing'}"
                  f"{' (disturbed)' if fp32['disturbed'] or int8['disturbed'] else ''}", flush=True)
    return found


def calibration(args: argparse.Namespace, folder: Path) -> Json:
    """Return seconds and memory of a calibration."""
    results = infer(folder, "--model", args.model.split(",")[0], "--image-size", str(args.image_size), "--data",
                    "digits", "--engine", "onnxruntime", "--precision", "int8", "--calibration-samples",
                    str(args.samples), "--batch", "1", "--windows", "1", "--window-seconds", "0.1", "--no-accuracy")
    file = next(folder.glob(f"{results['run']}/*collect*/rank-0.json"))
    done = json.loads(file.read_text())
    print(f"{args.samples} samples: {done['seconds']:.1f} s, {done['rss_bytes'] / 2**30:.2f} GiB at most", flush=True)
    return {"samples": args.samples, "seconds": done["seconds"], "rss_bytes": done["rss_bytes"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["overhead", "gain", "calibration"])
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--precision", default="fp32,int8")
    for name, default in (("rounds", 1), ("runs", 8), ("image-size", 224), ("samples", 1250)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, values in (("threads", [1, 2]), ("batches", [1, 8, 32])):
        parser.add_argument(f"--{name}", type=int, nargs="*", default=values)
    parser.add_argument("--out", type=Path, help="write all values here as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        load = os.getloadavg()
        found = {"overhead": overhead, "gain": gain, "calibration": calibration}[args.what](args, Path(folder))
    if args.out:
        plain = {"arguments": {**vars(args), "out": str(args.out)}, "load_before": load, "load_after": os.getloadavg(),
                 "found": found}
        args.out.write_text(json.dumps(plain, indent=1))


if __name__ == "__main__":
    main()
