#!/bin/sh
# Everything that is to be asked where a GPU is, in one go: tests/benchmarks/gpu.sh [FOLDER]
#
# What the meters read there, with a recording for the tests; ResNet-50 and BERT with a head for SQuAD trained by PyTorch
# and JAX in each precision, proved against the reference, interleaved, with power and energy by counter and by integral;
# what the machine can do at most; operators; and tensorrt_gpu.sh. Results are the .json and .txt files in FOLDER. About
# two hours without the last part; PARTS="meters train" asks for some of it. A part that fails is told of, the others go on.
#
# It uses an interpreter that holds the frameworks already and needs no network. Variables:
#   PYTHON      that interpreter, with torch, jax, onnxruntime and nvidia-ml-py; by default python3
#   WHEELS      a folder with wheels of what dlcompare itself needs and that interpreter lacks (see pyproject.toml)
#   PARTS       of: meters machine train ops tensorrt; by default all
#   FRAMEWORKS  by default pytorch-ddp,jax; MODELS "resnet50 bert-squad"; PRECISIONS "fp32 tf32 bf16 fp16"; ROUNDS 4
#   BATCH       of each model, by default 64 and 16; COOL_DOWN seconds before each job, 10; MORE options of every training
#   OPS         options of ops, by default its own choice of operators; LAYERS the network whose layers are timed, resnet50
# DEVICE=cpu FRAMEWORKS=reference MODELS=resnet18 PRECISIONS=fp32 ROUNDS=2 BATCH=2 COOL_DOWN=0 MORE="--image-size 32"
# PARTS="meters train" tries the script out without a GPU.
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
out=${1:-gpu}
device=${DEVICE:-cuda}
python=${PYTHON:-python3}
parts=${PARTS:-meters machine train ops tensorrt}
frameworks=${FRAMEWORKS:-pytorch-ddp,jax}
mkdir -p "$out"
out=$(cd "$out" && pwd)

if [ "${WHEELS:-}" ]; then
    "$python" -m venv --system-site-packages --without-pip "$out/venv"
    "$python" -m pip --python "$out/venv/bin/python" install --quiet --no-index --no-deps "$WHEELS"/*.whl
    python="$out/venv/bin/python"
fi
mkdir -p "$out/view/dlcompare" # links to the folders of this checkout, as the package has them
for name in core frameworks models inference; do ln -sfn "$here/$name" "$out/view/dlcompare/$name"; done
export PYTHONPATH="$out/view${PYTHONPATH:+:$PYTHONPATH}"
dlcompare() { "$python" -m dlcompare.core "$@"; }
failed=
part() { # NAME, then a command: says what is done, and goes on where it fails
    name=$1
    shift
    echo "== $name"
    "$@" > "$out/$name.txt" 2>&1 || failed="$failed $name"
    tail -n 40 "$out/$name.txt"
}

dlcompare list > "$out/list.txt" || { echo "dlcompare does not start with $python; see WHEELS"; exit 1; }
if [ "$device" = cuda ]; then nvidia-smi -q > "$out/gpu.txt"; fi

here() { (cd "$here" && "$@"); }
train() { # NAME, then what to ask: keeps NAME.json and the table of the same run
    name=$1
    shift
    dlcompare --device "$device" --env current --out "$out/runs" "$@" ${MORE:-} --format json > "$out/$name.json"
    code=$?
    dlcompare report "$out/$name.json"
    return $code
}

for wanted in $parts; do
    case $wanted in
        meters)
            part meters-tests here "$python" -m pytest -q -n0 -p no:cacheprovider tests/unit/meters \
                tests/unit/records/test_energy.py
            if [ "$device" = cuda ]; then
                part meters-cost "$python" "$here/tests/benchmarks/meters.py" --gpus real --rounds 0 --out "$out/meters.json"
            fi
            rm -f "$out/recording.jsonl"
            DLCOMPARE_RECORD_METERS="$out/recording.jsonl" part recording train recording --framework \
                "${frameworks%%,*}" --model resnet18 --image-size 32 --batch 2 --windows 3 --verify off ;;
        train)
            for model in ${MODELS:-resnet50 bert-squad}; do
                case $model in bert*) batch=${BATCH:-16} ;; *) batch=${BATCH:-64} ;; esac
                for precision in ${PRECISIONS:-fp32 tf32 bf16 fp16}; do
                    part "train-$model-$precision" train "train-$model-$precision" --framework "$frameworks" \
                        --model "$model" --data synthetic --batch "$batch" --precision "$precision" \
                        --rounds "${ROUNDS:-4}" --verify full --cool-down "${COOL_DOWN:-10}"
                done
            done ;;
        machine) # before training, whose records then say how much of it they reach
            part machine dlcompare machine --env current --matrix "$frameworks" --out "$out/runs" ;;
        ops)
            for precision in ${PRECISIONS:-fp32 tf32 bf16 fp16}; do
                part "ops-$precision" dlcompare ops --framework "$frameworks" --device "$device" --env current \
                    --precision "$precision" --out "$out/runs" ${OPS:-}
                part "layers-$precision" dlcompare ops --framework "$frameworks" --device "$device" --env current \
                    --precision "$precision" --from-model "${LAYERS:-resnet50}" --out "$out/runs"
            done ;;
        tensorrt)
            printf '#!/bin/sh\nexec "%s" -m dlcompare.core "$@"\n' "$python" > "$out/dlcompare"
            chmod +x "$out/dlcompare"
            DLCOMPARE="$out/dlcompare" ENGINE="${ENGINE:-tensorrt}" part tensorrt \
                sh "$here/tests/benchmarks/tensorrt_gpu.sh" "$out/tensorrt" ;;
        *) echo "no such part: $wanted"; failed="$failed $wanted" ;;
    esac
done
echo "results are in $out${failed:+; these failed:$failed}"
[ -z "$failed" ]
