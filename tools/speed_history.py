"""Ratios of speed are measured here in a few minutes, kept in a file, and drawn over time.

    python tools/speed_history.py

draws smears, trains mobilenetv2 + bilstm on them for an epoch, exports it, and holds what
`wbczoo bench` measures as a line of docs/benchmarks.jsonl, which docs/pictures/speed-history.svg
shows. Whatever fell by a tenth or more below the median of this processor's earlier lines is said,
and the exit code is then 3.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from matplotlib import rcParams
from matplotlib.figure import Figure

from wbczoo import export, files, machine, train
from wbczoo.bench.field_speed import OURS, bench_fields
from wbczoo.bench.fields import read_fields
from wbczoo.bench.finder_speed import SIZES, measure_speed
from wbczoo.bench.prediction import bench_predict
from wbczoo.bench.training import bench_train
from wbczoo.progress import tell
from wbczoo.registry import datasets
from wbczoo.runtime import find_images
from wbczoo.runtime.named import resolve
from wbczoo.training.checkpoint import load_model

ROOT = Path(__file__).resolve().parents[1]
LINES = ROOT / "docs" / "benchmarks.jsonl"
PICTURE = ROOT / "docs" / "pictures" / "speed-history.svg"

# Each is a share or a multiple of which more is better, of two things done in turn in one run.
RATIOS = {
    "loop": "files to CSV, times PyTorch's loop",
    "loop at 32": "the same, both in batches of 32",
    "of the bound": "files to CSV, of the bound",
    "bf16": "OpenVINO in bf16, times PyTorch's loop",
    "bare call": "a bare call, times Session (one image)",
    "start": "start of a bare script, times predict's",
    "finder": "the finder, of its network alone",
    "fields": "fields to CSV, times a plain loop",
    "training": "a real epoch, of a resident batch",
    "plain step": "a real epoch, times a plain step",
}
FALLEN = 0.9  # of the median of earlier lines

Line = dict[str, Any]

# What whoever has only onnxruntime and Pillow would write to have one answer.
_BARE_SCRIPT = """
import sys
import numpy, onnxruntime
from PIL import Image
settings = onnxruntime.SessionOptions()
settings.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], settings, ["CPUExecutionProvider"])
_, _, height, width = session.get_inputs()[0].shape
image = Image.open(sys.argv[2]).convert("RGB").resize((width, height))
print(session.run(None, {"images": numpy.asarray(image).transpose(2, 0, 1)[None]}))
"""


def measure(
    smears: Path,
    fields: Path,
    run: Path,
    model: Path,
    *,
    limit: int,
    batch: int,
    rounds: int,
    steps: int,
) -> dict[str, float]:
    """The ratios by name; what cannot be measured here is left out.

    Args:
        smears: a synthetic set.
        fields: a folder of images, about which the published default is asked.
        run, model: of one training, which is not judged.
        limit: images from files to CSV in each round.
        batch: the larger one.
        rounds: turns of each; `steps` of training are in one.
    """
    paths = find_images([str(smears)])[:limit]
    asked = bench_predict(
        paths, [model], run=run, batch=batch, rounds=rounds, repeats=10, compiled=False
    )
    rows = {row["name"]: row for row in asked["rows"] if not row["error"]}
    ours, loop = (next(rows[n] for n in rows if n.startswith(k)) for k in ("wbczoo fp", "PyTorch"))
    each, own = loop["images_per_second"], ours["images_per_second"]
    alone = [row["latency_ms"]["1"]["median"] for row in (rows["onnxruntime, a bare call"], ours)]
    ratios = {
        "loop": ours["ratio_to_pytorch"],
        "loop at 32": own[str(batch)] / each[str(batch)],
        "of the bound": ours["of_bound"],
        "bare call": alone[0] / alone[1],
        "start": _start(model, str(paths[0]), 2 * rounds + 1),
    }
    if half := rows.get("wbczoo --engine openvino-bf16"):
        ratios["bf16"] = half["ratio_to_pytorch"]
    (found,) = measure_speed(read_fields("synthetic", smears).boxed[0], SIZES[:1])
    ratios["finder"] = found["of_bound"]
    asked = bench_fields(find_images([str(fields)]), resolve(None), rounds=rounds)
    ratios["fields"] = next(row["ratio"] for row in asked["rows"] if row["name"] == OURS)
    config, _ = load_model(run)
    trained = bench_train(config.model, config.train, smears, steps=steps, device="cpu", tell=tell)
    return {**ratios, "training": trained["ratio"], "plain step": trained["ratio_to_plain"]}


def _start(model: Path, image: str, turns: int) -> float:
    """How long a bare script takes from its start to its end, of what `predict` takes so."""
    asked = ["-m", "wbczoo", "predict", image, "--model", str(model), "--device", "cpu"]
    graph = str(model / "model.onnx")
    commands = (["-c", _BARE_SCRIPT, graph, image], asked)
    # What pip installed has its bytecode; here the first turn writes it, and does not count.
    surroundings = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    seconds: tuple[list[float], ...] = ([], [])
    for _ in range(turns + 1):
        for kept, command in zip(seconds, commands, strict=True):
            line = [sys.executable, *command]
            begun = time.perf_counter()
            subprocess.run(line, check=True, capture_output=True, env=surroundings)
            kept.append(time.perf_counter() - begun)
    bare, whole = (statistics.median(each[1:]) for each in seconds)
    return bare / whole


def describe(load: float, ratios: Mapping[str, float]) -> Line:
    """A line: the ratios, and when, where and of what they were measured."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": git("rev-parse", "--short=10", "HEAD") or None,
        "changed": bool(git("status", "--porcelain", "--untracked-files=no")),
        "load": round(load, 2),
        **machine.describe(),
        "ratios": {name: round(value, 4) for name, value in ratios.items()},
    }


def read_lines(path: Path) -> tuple[list[Line], list[str]]:
    """The lines of a history, and a sentence for each that is none."""
    lines, broken = [], []
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    for number, written in enumerate(text.splitlines(), 1):
        try:
            line = json.loads(written)
            datetime.fromisoformat(line["date"])
            kept = {name: float(value) for name, value in line["ratios"].items()}
            lines.append({**line, "ratios": kept, "processor": str(line["processor"])})
        except (ValueError, KeyError, TypeError, AttributeError):
            broken.append(f"{path}, line {number} is no measurement, and is left out.")
    return lines, broken


def append_line(path: Path, line: Line) -> None:
    """Keep a line behind the others, whatever these are; the file is written aside and renamed."""
    before = path.read_bytes() if path.exists() else b""
    if before and not before.endswith(b"\n"):
        before += b"\n"
    files.write_bytes(path, before + json.dumps(line, allow_nan=False).encode() + b"\n")


def fallen(lines: Sequence[Line]) -> list[str]:
    """A sentence for each ratio of the last line that is well below what this processor had.

    Lines that other commands measured, of other images and models (`by`), are no measure of it.
    """
    *earlier, last = lines
    told = []
    for name, value in last["ratios"].items():
        mine = [
            line["ratios"][name]
            for line in earlier
            if all(line.get(key) == last.get(key) for key in ("processor", "by"))
            and name in line["ratios"]
        ]
        if mine and value < FALLEN * statistics.median(mine):
            told.append(
                f"{RATIOS.get(name, name)}: {value:.2f}, and the median of {len(mine)} earlier "
                f"lines of this processor is {statistics.median(mine):.2f}."
            )
    return told


def draw(lines: Sequence[Line], path: Path) -> None:
    """A picture with a panel for each ratio, its lines in their order, by processor."""
    rcParams.update({"svg.hashsalt": "wbczoo", "svg.fonttype": "none", "font.size": 8})
    rows = -(-len(RATIOS) // 2)
    figure = Figure(figsize=(9, 1.7 * rows), facecolor="white", layout="constrained")
    panels = figure.subplots(rows, 2).ravel()
    for panel in panels[len(RATIOS) :]:
        panel.set_visible(False)
    for panel, (name, what) in zip(panels, RATIOS.items(), strict=False):
        panel.set_title(what, loc="left", fontsize=8)
        for number, processor in enumerate(dict.fromkeys(line["processor"] for line in lines)):
            points = [
                (place, line["ratios"][name])
                for place, line in enumerate(lines, 1)
                if line["processor"] == processor and name in line["ratios"]
            ]
            if points:
                colour = f"C{number}"
                panel.plot(*zip(*points, strict=True), "o-", color=colour, label=processor)
        panel.set_xlim(0.5, len(lines) + 0.5)
        panel.set_ylim(0, 1.1 * panel.get_ylim()[1])
        shown = range(0, len(lines), -(-len(lines) // 5))  # dates that fit
        panel.set_xticks([place + 1 for place in shown], [lines[p]["date"][:10] for p in shown])
        panel.grid(axis="y", alpha=0.3)
    handles = {one.get_label(): one for panel in panels for one in panel.get_lines()}
    figure.legend([*handles.values()], [*handles], loc="outside lower center")
    with files.written_aside(path) as aside:
        figure.savefig(aside, metadata={"Date": None})


def main() -> int:
    """Measure, keep, draw and tell; 3 if a ratio fell."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lines", type=Path, default=LINES, help="Where lines are kept.")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    parser.add_argument("--draw-only", action="store_true", help="Measure nothing.")
    asked = parser.parse_args()
    if not asked.draw_only:
        load = os.getloadavg()[0]
        with tempfile.TemporaryDirectory() as name:
            append_line(asked.lines, describe(load, _measure_all(Path(name))))
    lines, broken = read_lines(asked.lines)
    sys.stderr.writelines(f"{sentence}\n" for sentence in broken)
    if not lines:
        sys.stderr.write(f"{asked.lines} holds no measurement; leave out --draw-only.\n")
        return 1
    draw(lines, asked.picture)
    for key, value in lines[-1]["ratios"].items():
        sys.stdout.write(f"{RATIOS.get(key, key):42} {value:6.2f}\n")
    told = fallen(lines)
    sys.stderr.writelines(f"fell: {sentence}\n" for sentence in told)
    return 3 if told else 0


def _measure_all(folder: Path) -> dict[str, float]:
    smears, run, model = folder / "smears", folder / "run", folder / "export"
    fields = folder / "fields"
    os.environ["WBCZOO_CACHE"] = str(folder / "cache")
    prepare = datasets.spec("synthetic").prepare
    assert prepare is not None
    prepare(smears, photographs=48, views=3, seed=0)
    prepare(fields, photographs=32, seed=0, cells_per_field="0..5")
    train("mobilenetv2", smears, dataset="synthetic", sequence="bilstm", weights="none",
          trainable="all", epochs=1, batch_size=16, device="cpu", out=run, tell=tell)  # fmt: skip
    export(run, model, speed="none", tell=tell)
    return measure(smears, fields, run, model, limit=96, batch=32, rounds=2, steps=4)


if __name__ == "__main__":
    sys.exit(main())
