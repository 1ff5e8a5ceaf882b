#!/usr/bin/env bash
# Runs the open trials of a study on one GPU, by many processes, for so many minutes.
#
#   tools/gpu_run.sh DATA.zip OUT MINUTES [--study STUDY.toml] [--data NAME=PATH]... [--small]
#       [--device cpu] [--workers N]
#
# DATA.zip: the BCCD archive. WBCZOO_WEIGHTS names a folder of weights where there is no network.
# --study: docs/studies/report-2020.toml unless said; of another the blocks come in its order.
# --data: of another laboratory (pbc=PBC.zip); trials whose data are not there are refused.
# --small: one epoch of the first blocks; they go into no study.
# OUT gets results.jsonl (a line for each trial that ended, as `wbczoo study run` writes it; put
# it beside the study's results.jsonl.xz, and it counts), timing.json and log.txt.
# Batches are small, so each process waits for its own launches most of the time: as many run as
# there are cores, under CUDA's MPS where it is there. PYTHON names the interpreter (python3),
# WBCZOO_SCRATCH a fast folder.
set -u
[ $# -ge 3 ] || { sed -n '2,16p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 2; }
begun=$(date +%s)
study=$(cd "$(dirname "$0")/.." && pwd)/docs/studies/report-2020.toml
given=(--data "bccd=$1") out=$2 minutes=$3; shift 3
device=cuda small='' workers=$(($(nproc) > 2 ? $(nproc) - 1 : 1)) python=${PYTHON:-python3}
while [ $# -gt 0 ]; do
  case $1 in
    --study) study=$(realpath "$2"); shift ;;
    --data) given+=(--data "$2"); shift ;;
    --small) small=yes; export WBCZOO_CUDA_GRAPHS=1 ;;
    --device) device=$2; shift ;;
    --workers) workers=$2; shift ;;
    *) echo "$0: no option $1" >&2; exit 2 ;;
  esac
  shift
done
finish=$((begun + $(awk "BEGIN { print int($minutes * 60) }")))
mkdir -p "$out"
say() { echo "[$(($(date +%s) - begun)) s] $*" | tee -a "$out/log.txt"; }

# Checkpoints and cached pixels are written and read all the time: memory is their place.
if [ -z "${WBCZOO_SCRATCH:-}" ]; then
  room=$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print int($4 / 1048576) }')
  [ "${room:-0}" -ge 24 ] && WBCZOO_SCRATCH=/dev/shm/wbczoo-$$ || WBCZOO_SCRATCH=$out/scratch
fi
work=$WBCZOO_SCRATCH/study
mkdir -p "$work"
export WBCZOO_CACHE=${WBCZOO_CACHE:-$WBCZOO_SCRATCH/cache}
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 PYTHONUNBUFFERED=1

# Of the report's study the most wanted first; trials that train longest stand early, so that the
# end of the time does not find them half done. Blocks that are not named come last.
named=$(awk '/^\[\[blocks\]\]/ { getline; gsub(/name = |"/, ""); print }' "$study")
blocks=($named)
case $study:$small in
  */report-2020.toml:yes) blocks=(last-block branch-alone all other-branches backbones) ;;
  */report-2020.toml:) blocks=(
    all-trained-out-grouped last-block-grouped-30-epochs last-block-branches all-branches
    all-branches-grouped from-nothing with-and-without-official-30-epochs branch-alone-100-epochs
    last-block branch-alone all other-branches backbones $named) ;;
esac
plan=$study
if [ -n "$small" ]; then
  plan=$work/small.toml
  sed 's/^epochs = .*/epochs = 1/' "$study" >"$plan"
fi

# MPS lets kernels of several processes run beside each other; without it they take turns.
mps=no
if [ "$device" = cuda ] && PATH=$PATH:/usr/local/nvidia/bin && command -v nvidia-cuda-mps-control; then
  export CUDA_MPS_PIPE_DIRECTORY=$WBCZOO_SCRATCH/mps CUDA_MPS_LOG_DIRECTORY=$WBCZOO_SCRATCH/mps-log
  mkdir -p "$CUDA_MPS_PIPE_DIRECTORY" "$CUDA_MPS_LOG_DIRECTORY"
  nvidia-cuda-mps-control -d && timeout 60 "$python" -c 'import torch; torch.ones(9, device="cuda")' &&
    mps=yes || unset CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY
fi >>"$out/log.txt" 2>&1

lines() { [ -f "$work/results.jsonl" ] && wc -l <"$work/results.jsonl" || echo 0; }
keep() { cp "$work/results.jsonl" "$out/results.jsonl.part" && mv "$out/results.jsonl.part" "$out/results.jsonl"; }
close() {
  trap - EXIT INT TERM
  kill -TERM "${pids[@]}" 2>/dev/null && sleep 3
  [ "$(lines)" = 0 ] || keep
  [ $mps = no ] || echo quit | timeout 10 nvidia-cuda-mps-control >/dev/null 2>&1
  "$python" - "$out" "$plan" "$(($(date +%s) - begun))" "$workers" "$mps" <<'END' | tee -a "$out/log.txt"
import json, sys
from pathlib import Path
from wbczoo.study.run.results import append_results, done_trials, read_results
out, plan, seconds, workers, mps = sys.argv[1:]
path, kept = Path(out, "results.jsonl"), done_trials(Path(plan), None)
rows = [row for key, row in read_results(path).items() if key not in kept]  # a study's own are there
path.unlink(missing_ok=True)
append_results(path, rows)
named = ("protocol", "trainable", "batch_size", "epochs", "seed")
trials = [{k: r[k] for k in ("model", "how", "seconds")} | {k: r["settings"].get(k) for k in named}
          for r in rows]
found = {"seconds": int(seconds), "workers": int(workers), "mps": mps == "yes", "trials": trials,
         "device": rows[0]["environment"]["device"] if rows else ""}
Path(out, "timing.json").write_text(json.dumps(found, indent=1) + "\n")
print(f"{len(rows)} trials done in {seconds} s: {path}, timing.json; why others were not: log.txt")
END
  cat "$work"/log.* 2>/dev/null | tr '\r' '\n' | grep -E "^refused|Error|no CUDA graph" | sort | uniq -c >>"$out/log.txt"
  case $WBCZOO_SCRATCH in /dev/shm/wbczoo-$$) rm -rf "$WBCZOO_SCRATCH" ;; esac
}
pids=()
trap close EXIT
trap 'exit 130' INT TERM

say "$workers processes on $device (MPS: $mps), until $((finish - begun)) s"
for number in $(seq "$workers"); do
  left=$((finish - $(date +%s) - 8))
  timeout -s TERM -k 6 $((left > 1 ? left : 1)) "$python" -m wbczoo study run "$plan" --out "$work" \
    "${given[@]}" --device "$device" --in-order $(printf -- '--only %s ' "${blocks[@]}") \
    >"$work/log.$number" 2>&1 &
  pids+=($!)
done
told=0
while [ -n "$(jobs -rp)" ] && [ "$(date +%s)" -lt "$finish" ]; do
  sleep 2
  [ "$(lines)" = "$told" ] || { told=$(lines); keep; say "$told trials done, with those of the study"; }
done
