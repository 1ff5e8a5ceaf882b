"""Rows leave here as files in forms that other programs read; labels and origins go with them."""

from __future__ import annotations

import io
import itertools
import json
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from wbczoo import cells, files, images
from wbczoo.data.samples import Rows
from wbczoo.errors import ImageRefused, UsageError
from wbczoo.progress import bar, tell
from wbczoo.text import csv_line

DataLayout = Literal["folder", "hf", "webdataset", "coco"]
LAYOUTS: tuple[DataLayout, ...] = get_args(DataLayout)

TABLE = "labels.csv"  # in each layout; `--labels` reads it
COCO = "annotations.json"
_KNOWN = ("label", "photograph", "slide", "patient", "group", "split", "laboratory")
_PER_SHARD = 1000
_WHITE_CELL = "white cell"  # of a box whose own class nobody says


def write_layout(rows: Rows, out: Path, layout: DataLayout) -> dict[str, Any]:
    """Write a data set's files, unchanged, into a new folder that another program reads.

    Every layout has `labels.csv` with the columns file, label, photograph, slide, patient, group,
    split and laboratory, and one for each task that reads a label of its own. So `--labels`
    reads it again, of shards once they are unpacked.

    - `folder`: `SPLIT/PART/LABEL/NAME`, as far as the data have splits and several parts.
    - `hf`: the same, and a `metadata.jsonl` in each top folder, as `datasets` reads image folders.
    - `webdataset`: `SPLIT-000000.tar` with 1000 images each, and beside each image a JSON file.
    - `coco`: `images/NAME` of each image that can be decoded, and `annotations.json` with a box
      for each white cell: the data's own, or where they have none those that `wbczoo.cells.find`
      finds, which have a `score`.

    Args:
        rows: of one data set or of several.
        out: a new folder, or an empty one; it is there when all is written.

    Returns:
        `out`, `layout`, `files`; of `coco` also `boxes` and how many of them were `found`.

    Raises:
        UsageError: if something lies at `out`.
    """
    with _new_folder(out) as aside:
        more = _WRITERS[layout](rows, aside)
    return {"out": str(out), "layout": layout, "files": len(rows), **more}


def describe_row(rows: Rows, row: int) -> dict[str, str]:
    """What is known of a row by the columns of `labels.csv`, without its file; "" for nothing."""
    sample = rows.samples[row]
    # A group that is nothing but the file's content says nothing.
    group = (sample.group or "") if rows.unit == "unknown" else rows.groups[row]
    known = (sample.label, sample.photograph, sample.slide, sample.patient, group, sample.split,
             rows.laboratories[row])  # fmt: skip
    return {**dict(zip(_KNOWN, (each or "" for each in known), strict=True)), **sample.labels}


def _write_table(rows: Rows, names: Sequence[str], path: Path) -> None:
    """Write what is known of rows as a table, by the names that their files have now."""
    tasks = sorted({task for sample in rows.samples for task in sample.labels})
    lines = [csv_line(("file", *_KNOWN, *tasks))]
    for row, name in enumerate(names):
        known = describe_row(rows, row)
        lines.append(csv_line((name, *(known.get(each, "") for each in (*_KNOWN, *tasks)))))
    files.write_text(path, "".join(lines))


def _write_folder(rows: Rows, out: Path) -> dict[str, Any]:
    names = [f"{'/'.join(_folders(rows, row))}/{_name(rows, row)}" for row in range(len(rows))]
    for row, content in _contents(rows):
        _put(out / names[row], content)
    _write_table(rows, names, out / TABLE)
    return {}


def _write_hf(rows: Rows, out: Path) -> dict[str, Any]:
    _write_folder(rows, out)
    tops: dict[str, list[int]] = {}
    for row in range(len(rows)):
        tops.setdefault(_split(rows, row), []).append(row)
    for top, chosen in tops.items():
        # Of a table, `00019` would be read as a number.
        lines = [
            {"file_name": "/".join([*_folders(rows, row)[1:], _name(rows, row)])}
            | describe_row(rows, row)
            for row in chosen
        ]
        files.write_text(out / top / "metadata.jsonl", "".join(f"{json.dumps(e)}\n" for e in lines))
    return {}


def _write_shards(rows: Rows, out: Path) -> dict[str, Any]:
    by_split: dict[str, list[int]] = {}
    for row in range(len(rows)):
        by_split.setdefault(_split(rows, row), []).append(row)
    order = [(split, chosen) for split, chosen in sorted(by_split.items())]
    reading = _contents(rows, [row for _, chosen in order for row in chosen])
    shards = 0
    for split, chosen in order:
        for number, start in enumerate(range(0, len(chosen), _PER_SHARD)):
            shards += 1
            with tarfile.open(out / f"{split}-{number:06}.tar", "w") as shard:
                for row, content in itertools.islice(reading, min(_PER_SHARD, len(chosen) - start)):
                    name = PurePosixPath(_name(rows, row))
                    sample = rows.samples[row]
                    known = {
                        "format": 1, "path": sample.path, "sha256": rows.hashes[row],
                        "part": sample.part, **describe_row(rows, row), "boxes": sample.boxes,
                    }  # fmt: skip
                    _add(shard, str(name), content)
                    _add(shard, f"{name.stem}.json", json.dumps(known).encode())
    _write_table(rows, [_name(rows, row) for row in range(len(rows))], out / TABLE)
    return {"shards": shards}


def _write_coco(rows: Rows, out: Path) -> dict[str, Any]:
    names = sorted({s.label for s in rows.samples if s.label} | {_WHITE_CELL})
    pictures, annotations, found = list[dict[str, Any]](), list[dict[str, Any]](), 0
    refused = dict[str, str]()
    for row, content in _contents(rows):
        sample, name = rows.samples[row], _name(rows, row)
        try:
            pixels = images.decode(content)
        except ImageRefused as refusal:
            refused[sample.path] = str(refusal)
            tell(f"left out {sample.path}: {refusal}")
            continue
        _put(out / "images" / name, content)
        height, width = pixels.shape[:2]
        pictures.append({
            "id": row + 1, "file_name": name, "width": width, "height": height,
            **describe_row(rows, row),
        })  # fmt: skip
        own = sample.boxes if sample.boxes is not None else sample.box and (sample.box,)
        cells_of = [(box, None) for box in own] if own is not None else [
            (each.box, each.score) for each in cells.find(pixels)
        ]  # fmt: skip
        for box, score in cells_of:
            left, top, right, bottom = box
            label = sample.label if len(cells_of) == 1 and sample.label else _WHITE_CELL
            annotations.append({
                "id": len(annotations) + 1, "image_id": row + 1, "iscrowd": 0,
                "category_id": names.index(label) + 1,
                "bbox": [left, top, right - left, bottom - top],
                "area": (right - left) * (bottom - top),
                **({} if score is None else {"score": score}),
            })  # fmt: skip
            found += score is not None
    document = {
        "info": {"description": rows.dataset}, "licenses": [], "images": pictures,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, 1)],
    }  # fmt: skip
    files.write_text(out / COCO, json.dumps(document, indent=1, allow_nan=False) + "\n")
    kept = {picture["id"] - 1 for picture in pictures}
    names = [f"images/{picture['file_name']}" for picture in pictures]
    _write_table(rows.keep(kept.__contains__, {}), names, out / TABLE)
    return {
        "files": len(pictures), "boxes": len(annotations), "found": found, "refused": refused,
    }  # fmt: skip


_WRITERS: Mapping[DataLayout, Callable[[Rows, Path], dict[str, Any]]] = {
    "folder": _write_folder, "hf": _write_hf, "webdataset": _write_shards, "coco": _write_coco,
}  # fmt: skip


def _contents(rows: Rows, chosen: Sequence[int] | None = None) -> Iterator[tuple[int, bytes]]:
    """Each row and its file's bytes, read one by one."""
    wanted = range(len(rows)) if chosen is None else chosen
    with bar(len(wanted), "files", unit="file") as advance:
        for row in wanted:
            content = rows.source.read(rows.samples[row].path)
            advance(1)
            yield row, content


def _split(rows: Rows, row: int) -> str:
    return rows.samples[row].split or "images"


def _folders(rows: Rows, row: int) -> list[str]:
    sample = rows.samples[row]
    parts = [sample.part] if len({each.part for each in rows.samples}) > 1 else []
    label = re.sub(r"[^\w-]+", "_", sample.label).strip("_")
    return [_split(rows, row), *parts, label or "unlabelled"]


def _name(rows: Rows, row: int) -> str:
    path = rows.samples[row].path
    return files.flat_name(path, PurePosixPath(path).suffix.lower())


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _add(shard: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # without a time or an owner: equal data give equal shards
    member.size = len(content)
    shard.addfile(member, io.BytesIO(content))


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists. Name a new folder for the data.")
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.resolve().parent))
    try:
        yield aside
        aside.chmod(0o755)
        if out.exists():
            out.rmdir()
        aside.rename(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
