#!/bin/sh
# Everything that TensorRT is to be asked where a GPU is, in one go: tests/benchmarks/tensorrt_gpu.sh [FOLDER]
#
# The library's own tests; networks trained on digits and shapes, their accuracy in each precision on the GPU and in the
# CPU's emulation of INT8, TensorRT's own calibrator; throughput of ResNet-18 and ResNet-50 against the batch. Results are
# the .json, .txt and .svg files in FOLDER. About two hours, half of it training on the CPU, which is not done again for a
# folder that has it.
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
    "$dlcompare" report "$out/$name.json" || echo "$name: no results"
}

if [ "$device" = cuda ]; then
    nvidia-smi | tee "$out/gpu.txt"
    if [ "$engine" = tensorrt85 ]; then
        (cd "$here" && .venv/bin/pytest -m tensorrt tests/conformance/test_tensorrt_library.py) | tee "$out/tests.txt"
    fi
fi

parameters() { ls "$out/trained/$1"/2*/*/params.safetensors 2> /dev/null | tail -n 1; }

accuracy() { # NAME, then how to train it: accuracy on the device, in emulation, and by TensorRT's own calibrator
    net=$1
    shift
    [ "$(parameters "$net")" ] || "$dlcompare" --framework pytorch-ddp --device cpu "$@" --save --out "$out/trained/$net"
    trained=$(dirname "$(parameters "$net")")
    infer "accuracy-$net" --from-run "$trained" --engine "$engine" --device "$device" --precision "$precisions" --no-speed
    infer "emulated-$net" --from-run "$trained" --engine tensorrt-emulated --device cpu --precision fp32,int8 --no-speed
    if [ "$engine" = tensorrt85 ]; then
        infer "entropy2-$net" --from-run "$trained" --engine "$engine" --device "$device" --precision fp32,int8 \
            --no-speed --calibrate tensorrt-entropy2
    fi
}

accuracy resnet18-digits --model resnet18 --image-size 32 --data digits --batch 32 --lr 0.05 --schedule cosine:660 \
    --target top1=0.97 --max-epochs 20 --seed 1
accuracy resnet50-digits --model resnet50 --image-size 64 --data digits --batch 32 --lr 0.03 --schedule cosine:900 \
    --target top1=0.97 --max-epochs 20
accuracy resnet18-shapes --model resnet18 --image-size 32 --data shapes:train=25600 --batch 64 --lr 0.03 \
    --schedule cosine:2400 --target top1=0.8 --max-epochs 6
for model in resnet18 resnet50; do
    infer "throughput-$model" --model "$model" --image-size "${SIZE:-224}" --data shapes --engine "$engine" \
        --device "$device" --precision "$precisions" --batch "$batches" --no-accuracy --plot "$out/$model.svg"
done
echo "results are in $out: ran.precision must be what was asked for, and accuracy-*.json must agree with emulated-*.json"
