#!/usr/bin/env bash
# Runs the open cells of the study on one GPU, by many processes, for so many minutes.
#
#   tools/gpu_run.sh DATA.zip WEIGHTS OUT MINUTES [--pbc PBC.zip] [--small] [--device cpu]
#                    [--workers N] [--study PLAN.toml]
#
# DATA.zip: the BCCD archive; WEIGHTS: the folder of *.safetensors; PBC.zip: for the cells that are
# tested on another laboratory (without it they are left out). OUT gets results.jsonl (a line for
# each cell that ended, as `wbczoo study run` writes it), timing.json and log.txt.
#   cat OUT/results.jsonl >> docs/studies/report-2020/results.jsonl
# makes them part of the study. The batches are small, so each process waits for its own launches
# most of the time: as many run as there are cores, under CUDA's MPS where it is there.
# PYTHON names the interpreter (python3), WBCZOO_CACHE the cache, WBCZOO_SCRATCH a fast folder.
set -u
usage() { sed -n '2,8p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 2; }
[ $# -ge 4 ] || usage
begun=$(date +%s)
here=$(cd "$(dirname "$0")/.." && pwd)
data=$1 weights=$2 out=$3 minutes=$4; shift 4
pbc='' small='' device=cuda workers='' study=$here/docs/studies/report-2020.toml
while [ $# -gt 0 ]; do
  case $1 in
    --pbc) pbc=$2; shift 2 ;;
    --small) small=--small; export WBCZOO_CUDA_GRAPHS=1; shift ;;
    --device) device=$2; shift 2 ;;
    --workers) workers=$2; shift 2 ;;
    --study) study=$2; shift 2 ;;
    *) usage ;;
  esac
done
seconds=$(awk "BEGIN { print int($minutes * 60) }")
finish=$((begun + seconds))
python=${PYTHON:-python3}
cores=$(nproc)
[ -n "$workers" ] || workers=$((cores > 2 ? cores - 1 : 1))
mkdir -p "$out"

# Checkpoints and cached pixels are written and read all the time: memory is their place.
if [ -z "${WBCZOO_SCRATCH:-}" ]; then
  room=$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print int($4 / 1048576) }')
  [ "${room:-0}" -ge 24 ] && WBCZOO_SCRATCH=/dev/shm/wbczoo-$$ || WBCZOO_SCRATCH=$out/scratch
fi
work=$WBCZOO_SCRATCH/study
mkdir -p "$work"
export WBCZOO_CACHE=${WBCZOO_CACHE:-$WBCZOO_SCRATCH/cache} WBCZOO_WEIGHTS=$weights
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 HF_HUB_OFFLINE=1
export PYTHONUNBUFFERED=1 MPLBACKEND=Agg
say() { echo "[$(($(date +%s) - begun)) s] $*" | tee -a "$out/log.txt"; }

# MPS lets kernels of several processes run beside each other; without it they take turns.
mps=no
stop_mps() { [ "$mps" = yes ] && echo quit | timeout 10 nvidia-cuda-mps-control >/dev/null 2>&1; mps=no; }
start_mps() {
  export PATH=$PATH:/usr/local/nvidia/bin
  command -v nvidia-cuda-mps-control >/dev/null || { say "no MPS here"; return; }
  export CUDA_MPS_PIPE_DIRECTORY=$WBCZOO_SCRATCH/mps CUDA_MPS_LOG_DIRECTORY=$WBCZOO_SCRATCH/mps-log
  mkdir -p "$CUDA_MPS_PIPE_DIRECTORY" "$CUDA_MPS_LOG_DIRECTORY"
  if nvidia-cuda-mps-control -d >>"$out/log.txt" 2>&1; then
    mps=yes
    timeout 60 "$python" -c 'import torch; print(float(torch.ones(9, device="cuda").sum()))' \
      >>"$out/log.txt" 2>&1 && { say "MPS serves"; return; }
    say "MPS does not serve"; tail -3 "$CUDA_MPS_LOG_DIRECTORY"/*.log >>"$out/log.txt" 2>&1
    stop_mps
  else
    say "MPS does not start"
  fi
  unset CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY
}

keep() { [ -f "$work/results.jsonl" ] && cp "$work/results.jsonl" "$out/results.jsonl.part" &&
  mv "$out/results.jsonl.part" "$out/results.jsonl"; }
lines() { [ -f "$work/results.jsonl" ] && wc -l <"$work/results.jsonl" || echo 0; }
pids=()
close() {
  trap - EXIT INT TERM
  [ ${#pids[@]} -gt 0 ] && kill -TERM "${pids[@]}" 2>/dev/null && sleep 3
  keep; stop_mps
  "$python" - "$out" "$work" "$begun" "$workers" "$mps_used" <<'END' | tee -a "$out/log.txt"
import json, sys, time
from pathlib import Path
out, work, begun, workers, mps = sys.argv[1:]
path = Path(out, "results.jsonl")
rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
cells = [
    {"model": r["model"], "how": r["how"], "seconds": r["seconds"], "epochs": r["settings"]["epochs"],
     **{k: r["settings"][k] for k in ("protocol", "trainable", "batch_size", "seed")}}
    for r in rows
]
document = {
    "seconds": round(time.time() - int(begun), 1), "workers": int(workers), "mps": mps == "yes",
    "device": rows[0]["environment"]["device"] if rows else "", "done": len(rows), "cells": cells,
}
Path(out, "timing.json").write_text(json.dumps(document, indent=1) + "\n")
print(f"{len(rows)} cells done in {document['seconds']} s; {out}/results.jsonl, timing.json")
END
  for log in "$work"/log.*; do
    tr "\r" "\n" <"$log" | grep -E "^refused|Error|no CUDA graph"; done 2>/dev/null | sort | uniq -c | tee -a "$out/log.txt" | head -40
  for log in "$work"/log.*; do echo "$log"; tail -c 1200 "$log" | tr '\r' '\n' | tail -n 12; done \
    >>"$out/log.txt" 2>/dev/null
  case $WBCZOO_SCRATCH in /dev/shm/wbczoo-$$) rm -rf "$WBCZOO_SCRATCH" ;; esac
}
mps_used=no
trap close EXIT
trap 'exit 130' INT TERM

here_data=(--data bccd) given=(--data "bccd=$data")
[ -n "$pbc" ] && here_data+=(--data pbc) && given+=(--data "pbc=$pbc")
"$python" "$here/tools/gpu_plan.py" "$study" "$work/plan.toml" --weights "$weights" \
  "${here_data[@]}" --workers "$workers" --seconds "$((finish - $(date +%s)))" $small \
  >"$work/planned.txt" 2>&1 &
planning=$!
[ "$device" = cuda ] && start_mps
mps_used=$mps
wait $planning || { cat "$work/planned.txt"; exit 1; }
cat "$work/planned.txt" >>"$out/log.txt"; head -30 "$work/planned.txt"

say "$workers processes on $device, until $((finish - begun)) s"
for number in $(seq "$workers"); do
  left=$((finish - $(date +%s) - 8))
  timeout -s TERM -k 6 $((left > 1 ? left : 1)) "$python" -m wbczoo study run "$work/plan.toml" \
    --out "$work" "${given[@]}" --device "$device" --in-order >"$work/log.$number" 2>&1 &
  pids+=($!)
done
told=0
while [ -n "$(jobs -rp)" ] && [ "$(date +%s)" -lt "$finish" ]; do
  sleep 2
  [ "$(lines)" = "$told" ] || { told=$(lines); keep; }
  now=$(($(date +%s) - begun))
  [ $((now % 30)) -lt 2 ] && say "$told cells done"
done
[ -n "$(jobs -rp)" ] || pids=()
