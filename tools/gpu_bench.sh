#!/usr/bin/env bash
# Times predicting and training on one GPU, and runs the tests that need one, in about eight minutes.
#
#   tools/gpu_bench.sh OUT [--device cpu] [--small]
#
# OUT, a new folder, gets predict-DEVICE.json of `wbczoo bench predict` in batches of 256 (CUDA,
# then TensorRT), train.json of `wbczoo bench train`, tests.txt of `pytest -m gpu`, and log.txt. The
# model is mobilenetv2 + bilstm, untrained, on drawn smears: speed is what is asked.
# --device cpu --small: a few images on the processor, to see that all of it goes.
# What fails leaves its reason in log.txt, and the next begins. PYTHON names the interpreter.
set -u
cd "$(dirname "$0")/.." || exit
[ $# -ge 1 ] && [ ! -e "$1" ] || { sed -n '2,11p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 2; }
mkdir -p "$1" && out=$(realpath "$1") || exit; shift
device=cuda small='' python=${PYTHON:-python3}
while [ $# -gt 0 ]; do
  case $1 in
    --device) device=$2; shift ;;
    --small) small=yes ;;
    *) echo "$0: no option $1" >&2; exit 2 ;;
  esac
  shift
done
photographs=128 views=4 limit=512 batch=256 steps=24 predict=(--rounds 3)
shown=() learned=32 patience=1
if [ -n "$small" ]; then
  photographs=16 views=4 limit=8 batch=4 steps=4 predict=(--rounds 1 --no-compile)
  shown=(--image-size 64) learned=8 patience=10
fi
work=$(mktemp -d) failed=0
trap 'rm -rf "$work"' EXIT
export WBCZOO_CACHE=$work/cache
wbczoo() { # SECONDS FILE ARGUMENTS...
  local seconds=$1 file=$2; shift 2
  echo "wbczoo $*" | tee -a "$out/log.txt"
  timeout $((seconds * patience)) "$python" -m wbczoo "$@" >"$work/stdout" 2>>"$out/log.txt" &&
    { [ -z "$file" ] || mv "$work/stdout" "$out/$file"; return 0; }
  echo "failed ($?)" | tee -a "$out/log.txt"
  failed=1
  return 1
}
smears=$work/smears run=$work/run
wbczoo 60 '' data prepare "$smears" --dataset synthetic --photographs $photographs --views $views || exit 1
wbczoo 60 '' build --backbone mobilenetv2 --seq bilstm --weights none "${shown[@]}" --out "$run" || exit 1
models=()
for precision in fp32 fp16; do
  options=(); [ $precision = fp32 ] || options=(--precision fp16 --agreement 0.5 --images "$smears")
  wbczoo 120 '' export "$run" --out "$work/$precision" --speed none "${options[@]}" \
    && models+=(--model "$work/$precision")
done
for where in "$device" $([ "$device" = cpu ] || echo tensorrt); do
  wbczoo 200 "predict-$where.json" bench predict "$smears" "${models[@]}" --run "$run" --device "$where" \
    --limit $limit --batch-size $batch "${predict[@]}" --json
done
wbczoo 90 train.json bench train "$smears" --dataset synthetic --backbone mobilenetv2 --device "$device" \
  --batch-size $learned "${shown[@]}" --steps $steps --json
[ -n "$small" ] || timeout 120 "$python" -m pytest -q -m gpu -p no:cacheprovider >"$out/tests.txt" 2>&1
ls "$out"
exit $failed
