#!/bin/sh
# Everything that TensorRT is to be asked where a GPU is, in one go: tests/benchmarks/tensorrt_gpu.sh [FOLDER]
#
# The library's own tests; a network trained on digits, its accuracy in each precision on the GPU and in the CPU's
# emulation of INT8, TensorRT's own calibrator; throughput of ResNet-18 and ResNet-50 against the batch. Results are the
# .json, .txt and .svg files in FOLDER. About an hour, most of it TensorRT building engines.
#
# Variables: ENGINE=tensorrt for the current version (tensorrt85: needs CPython 3.10 on PATH), BATCHES, SIZE of images for
# the throughput, DLCOMPARE. ENGINE=onnxruntime DEVICE=cpu PRECISIONS=fp32,int8 tries the script out without a GPU.
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
out=${1:-tensorrt_gpu}
engine=${ENGINE:-tensorrt85}
device=${DEVICE:-cuda}
precisions=${PRECISIONS:-fp32,fp16,int8}
batches=${BATCHES:-1,2,4,8,16,32,64,128,256}
dlcompare=${DLCOMPARE:-$here/.venv/bin/dlcompare}
mkdir -p "$out"
out=$(cd "$out" && pwd)

infer() { # NAME, then what to ask: keeps NAME.json and shows the table of the same run
    name=$1
    shift
    echo "== $name"
    "$dlcompare" infer "$@" --timeout 3600 --out "$out/runs" --format json > "$out/$name.json" || echo "$name: exit code $?"
    "$here/.venv/bin/python" -m json.tool "$out/$name.json" > /dev/null || echo "$name: no results"
}

if [ "$device" = cuda ]; then
    nvidia-smi | tee "$out/gpu.txt"
    if [ "$engine" = tensorrt85 ]; then
        (cd "$here" && .venv/bin/pytest -m tensorrt tests/conformance/test_tensorrt_library.py) | tee "$out/tests.txt"
    fi
fi

[ -d "$out/trained" ] || "$dlcompare" --framework pytorch-ddp --device cpu --model resnet18 --image-size 32 --batch 32 \
    --lr 0.05 --schedule cosine:660 --target top1=0.97 --max-epochs 20 --save --seed 1 --out "$out/trained"
trained=$(ls -d "$out"/trained/2*/ | head -n 1)

infer accuracy --from-run "$trained" --engine "$engine" --device "$device" --precision "$precisions" --no-speed
infer emulated --from-run "$trained" --engine tensorrt-emulated --device cpu --precision fp32,int8 --no-speed
if [ "$engine" = tensorrt85 ]; then
    infer entropy2 --from-run "$trained" --engine "$engine" --device "$device" --precision fp32,int8 --no-speed \
        --calibrate tensorrt-entropy2
fi
for model in resnet18 resnet50; do
    infer "throughput-$model" --model "$model" --image-size "${SIZE:-224}" --data shapes --engine "$engine" \
        --device "$device" --precision "$precisions" --batch "$batches" --no-accuracy --plot "$out/$model.svg"
done
echo "results are in $out: ran.precision must be what was asked for, and accuracy.json must agree with emulated.json"
