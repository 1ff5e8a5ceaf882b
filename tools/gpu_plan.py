"""Write a plan of a study's open cells that a GPU should run, the most wanted first.

    python tools/gpu_plan.py docs/studies/report-2020.toml plan.toml --weights weights --data bccd

Each cell is a block of its own, so `wbczoo study run plan.toml --in-order` keeps this order. A
cell's key is of its settings alone: the lines that come out belong to the study.
"""

from __future__ import annotations

import argparse
import heapq
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from wbczoo.study.plan.plan import Cell, StudyPlan, read_plan
from wbczoo.study.run.results import done_cells

# Blocks in the order of their worth; those that train longest stand early, so that the end of
# the time does not find them half done. Blocks that are not named here come last.
WORTH = (
    "last-block",
    "branch-alone",
    "all",
    "other-branches",
    "backbones",
    "vgg16-no-weights",
    "branch-alone-30-epochs",
    "last-block-seeds",
    "all-trained-out",
    "all-trained-out-grouped",
    "last-block-grouped-30-epochs",
    "all-branches",
    "all-branches-grouped",
    "last-block-branches",
    "branch-alone-100-epochs",
    "from-nothing",
    "with-and-without-official-30-epochs",
)

# Milliseconds of one training step, replayed as a CUDA graph in one of many processes beside each
# other on an H100-class GPU with 16 cores, by guess: the backbone's, then the branch's beside it.
_BACKBONE = {"none": 1.5, "resnet18": 3.0, "mobilenetv2": 4.0, "googlenet": 6.0, "vgg16": 15.0}
_BRANCH = {"none": 0.0, "bilstm": 6.0, "gru": 7.0, "bilstm_features": 2.0}
_TRAINING = {"report": 9954, "official": 8400, "grouped": 237 * 5, "external": 10500}
_TESTED = {"report": 1245, "official": 2487, "grouped": 348, "external": 2000}
_START = 25.0  # seconds until a process trains
_FOLD = 4.0  # seconds of a fold beside its steps: models built, kept and opened again


def open_cells(plan: StudyPlan, path: Path) -> Iterator[tuple[str, str, Cell]]:
    """Block, protocol's name and cell of each network that is not done, the most wanted first."""
    done = done_cells(path, None)
    rank = {name: place for place, name in enumerate(WORTH)}
    found = [
        (block.name, name, cell)
        for block in plan.blocks
        for name in block.protocols
        for cell in plan.of_block(block.model_copy(update={"protocols": (name,)}))
        if cell.key not in done and cell.baseline is None
    ]
    # Other laboratories' images test what the study's own protocols have shown first.
    found.sort(key=lambda one: (rank.get(one[0], len(rank)), one[2].protocol == "external"))
    mine = [one for one in found if one[2].protocol != "external"]
    seen: set[str] = set()
    for one in [*mine, *(other for other in found if other not in mine)]:
        if one[2].key not in seen:
            seen.add(one[2].key)
            yield one


def why_not(cell: Cell, weights: Path, data: Sequence[str]) -> str:
    """What a cell lacks here; empty where it can be run."""
    if cell.weights == "imagenet" and not (weights / f"{cell.backbone}.safetensors").is_file():
        return f"needs the weights {cell.backbone}.safetensors"
    lost = {cell.dataset, cell.test_dataset} - {None, *data}
    return f"needs the data {', '.join(sorted(map(str, lost)))}" if lost else ""


def guess(cell: Cell) -> float:
    """Seconds of a cell in one of many processes on a GPU."""
    epochs = cell.epochs or 1
    images = 1700 if cell.dataset == "pbc" else _TRAINING[cell.protocol]
    step = (_BACKBONE[cell.backbone or "none"] if cell.how == "images" else 2.0) + _BRANCH[
        cell.sequence or "none"
    ]
    if cell.how == "cached heads":
        step = 1.5
    steps = images * epochs / (cell.batch_size or 8)
    answered = (epochs * 1450 * (1 if cell.protocol != "grouped" else 0.15)) / 64
    answered += _TESTED[cell.protocol] / 64
    return (steps + 0.4 * answered) * step / 1000 + _FOLD * len(cell.folds_run) * (
        1.0 if cell.protocol != "grouped" else 1 + epochs / 30
    )


def finishing(cells: Sequence[Cell], workers: int, seconds: float) -> tuple[int, float]:
    """How many of the cells, in order, end in time among so many processes, and when the last."""
    free = [_START] * workers
    ends = []
    for cell in cells:
        end = heapq.heappop(free) + guess(cell)
        heapq.heappush(free, end)
        ends.append(end)
    return sum(end <= seconds for end in ends), max(ends, default=0.0)


def small(found: Sequence[tuple[str, str, Cell]]) -> list[tuple[str, str, Cell]]:
    """One cell of each way that code takes, of one epoch."""
    kinds: dict[tuple[Any, ...], tuple[str, str, Cell]] = {}
    for block, name, cell in found:
        kind = (
            cell.how, cell.backbone, cell.sequence, cell.trainable, cell.weights, cell.precision,
            name if (cell.trainable, cell.model) == ("last-block", "resnet18+bilstm") else "",
        )  # fmt: skip
        kinds.setdefault(kind, (block, name, cell.model_copy(update={"epochs": 1})))
    return list(kinds.values())


def write(plan: StudyPlan, found: Sequence[tuple[str, str, Cell]], name: str) -> str:
    """The TOML of a plan of these cells, each a block."""
    lines = ["format = 1", f"name = {_toml(name)}", f"tasks = {_toml(plan.tasks)}", ""]
    for key, data in plan.data.items():
        lines += [f"[data.{key}]", *_fields(data.model_dump(exclude_defaults=True)), ""]
    for key, arena in plan.protocols.items():
        lines += [f"[protocols.{key}]", *_fields(arena.model_dump(exclude_defaults=True)), ""]
    for number, (block, protocol, cell) in enumerate(found):
        fields = {
            "name": f"{number:03d} {block}", "backbones": [cell.backbone],
            "sequences": [cell.sequence], "hidden": cell.hidden,
            "weights": cell.weights, "trainable": [cell.trainable],
            "batch_sizes": [cell.batch_size], "learning_rates": [cell.lr], "epochs": cell.epochs,
            "seeds": [cell.seed], "protocols": [protocol], "precision": cell.precision,
            "image_size": cell.image_size, "crop": cell.crop, "settings": cell.settings,
        }  # fmt: skip
        lines += ["[[blocks]]", *_fields({k: v for k, v in fields.items() if v is not None}), ""]
    return "\n".join(lines)


def _fields(values: dict[str, Any]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in values.items()]


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)  # numbers, strings and truth are written alike in TOML


def main() -> int:
    """Write the plan, and say what stands in it, what cannot be run, and what may not end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", action="append", default=[], help="a data set that is here")
    parser.add_argument("--workers", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=480.0)
    parser.add_argument("--small", action="store_true", help="one epoch of one cell of each kind")
    args = parser.parse_args()
    plan = read_plan(args.study)
    asked = list(open_cells(plan, args.study))
    lacks = [(one, why_not(one[2], args.weights, args.data)) for one in asked]
    found = [one for one, reason in lacks if not reason]
    reasons = [reason for _, reason in lacks if reason]
    for reason in dict.fromkeys(reasons):
        click.echo(f"{reasons.count(reason)} open cells cannot be run here: each {reason}")
    if args.small:
        found = small(found)
    args.out.write_text(write(plan, found, f"{plan.name}-open"), encoding="utf-8")
    written = read_plan(args.out).cells()
    if list(written) != [cell.key for _, _, cell in found]:
        click.echo("the plan that was written has other cells than the study", err=True)
        return 1
    cells = [cell for _, _, cell in found]
    count, last = finishing(cells, args.workers, args.seconds)
    click.echo(
        f"{len(cells)} open cells in {args.workers} processes: about {count} of them end within "
        f"{args.seconds:.0f} s, the last after {last:.0f} s, by a guess"
    )
    for block, name, cell in found[count:]:
        click.echo(
            f"may not end: {block}: {cell.model}, {cell.trainable}, {name}, seed {cell.seed}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
