"""Images are shared among machines by their place, and the rows of all become those of one.

Batches, not images, are dealt out in turn: an answer's last digits depend on the batch that it was
computed in, and so each machine computes batches that a single one would have computed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from wbczoo import files
from wbczoo.errors import UsageError, WbczooError, some
from wbczoo.images.file import claim_file
from wbczoo.images.walk import Found
from wbczoo.runtime.output import Output, local_copies
from wbczoo.runtime.parquet import write_parquet
from wbczoo.runtime.part_file import table_line, whole_records
from wbczoo.runtime.rows import BOX_COLUMNS, Format, Row, begins_image
from wbczoo.tasks import Task

TOLD = ".shard.json"  # behind the name of a shard's rows: what they are
_TOLD = re.compile(r"([1-9]\d{0,6})/([1-9]\d{0,6})", re.ASCII)


@dataclass(frozen=True)
class Shard:
    """One of `of` shares of the images, from 1 on."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """The share that `i/n` names; UsageError if it names none."""
        told = _TOLD.fullmatch(text)
        if told is None or int(told[1]) > int(told[2]):
            raise UsageError(f"A shard is i/n with i from 1 to n, such as 2/8; not {text!r}.")
        return cls(int(told[1]), int(told[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def count(self, images: int, block: int) -> int:
        """How many of so many images are in it; see `Dealt`."""
        rounds, rest = divmod(images, block * self.of)
        return rounds * block + min(max(rest - (self.number - 1) * block, 0), block)


class Dealt:
    """A shard's images: each `of`-th block of `block` images.

    Attributes:
        images: how many there were in all, and `digest` a hash of all their paths, once they were
            iterated over.
    """

    def __init__(self, images: Iterable[Found], shard: Shard, block: int) -> None:
        self._given, self.shard, self._block = images, shard, block
        self.images = 0
        self.digest = ""

    def __iter__(self) -> Iterator[Found]:
        paths = hashlib.sha256()
        self.images = 0
        for place, image in enumerate(self._given):
            self.images += 1
            paths.update(str(image).encode("utf-8", "surrogatepass") + b"\0")
            if place // self._block % self.shard.of == self.shard.number - 1:
                yield image
        self.digest = paths.hexdigest()


def told_by(out: Path) -> Path:
    """Where it is written what a shard's rows are."""
    return out.with_name(out.name + TOLD)


def write_told(
    output: Output,
    rows: Path,
    dealt: Dealt,
    made_by: Mapping[str, object],
    tasks: Sequence[Task],
    further: Sequence[str],
) -> None:
    """Write beside a shard's file, whose bytes are still in `rows`, what `merge` has to know.

    Args:
        further: columns of a table, as `csv_columns` takes them.
    """
    document = {
        "shard": dealt.shard.number,
        "of": dealt.shard.of,
        "images": dealt.images,
        "paths": dealt.digest,
        "rows": files.sha256_of(rows),
        "made_by": dict(made_by),
        "tasks": {task.name: task.classes for task in tasks},
        "further": [*further],
    }
    files.write_json(told_by(output.path), document)
    output.put(told_by(output.path), TOLD)


def merge(
    parts: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    layout: Format | None = None,
    overwrite: bool = False,
) -> int:
    """Write the rows of all shards in the order of their images, as one machine would have.

    Args:
        parts: files that `wbczoo predict --shard` wrote, in any order; or URLs of such files.
        out: as of `Output`.
        layout: that of the parts if None; `parquet` is made of JSON lines alone.

    Returns:
        how many images there are.

    Raises:
        UsageError: as `claim_file`; if a shard is missing or given twice, or the shards are of
            different images or were made by different things.
        WbczooError: if a part is not as it was written.
    """
    output = Output(out)
    with local_copies([os.fspath(part) for part in parts], TOLD) as local:
        claim_file(output.path, "--out", overwrite=overwrite or output.is_url, inputs=local)
        output.check(overwrite=overwrite)
        told = _read_told(local)
        first = next(iter(told.values()))
        written = first["made_by"]["row format"]
        if layout not in (None, written, "parquet") or (layout, written) == ("parquet", "csv"):
            raise UsageError(f"The parts are {written}, of which no {layout} is made.")
        with files.written_aside(output.path) as aside:
            _write_merged(told, aside)
            if layout == "parquet":
                tasks = [Task(name, tuple(classes)) for name, classes in first["tasks"].items()]
                write_parquet(aside, aside, tasks, first["further"], first["made_by"]["model"])
        output.put(output.path)
    return int(first["images"])


def _write_merged(told: Mapping[Path, Mapping[str, Any]], out: Path) -> None:
    first = next(iter(told.values()))
    made_by = first["made_by"]
    block, layout = made_by["batch size"], made_by["row format"]
    several = made_by["choice of --cells"] == "all"
    left = first["images"]
    streams = [part.open("rb") for part in told]
    try:
        with out.open("wb") as target:
            heads = [stream.readline() if layout == "csv" else b"" for stream in streams]
            target.write(heads[0])
            columns = heads[0].decode().rstrip("\n").split(",")
            shards = [
                _images(whole_records(stream, layout), columns if layout == "csv" else (), several)
                for stream in streams
            ]
            for shard in cycle(shards):
                if not left:
                    break
                taken = [*islice(shard, min(block, left))]
                if len(taken) < min(block, left):
                    raise WbczooError("The parts have fewer rows than images; make them again.")
                target.writelines(taken)
                left -= len(taken)
    finally:
        for stream in streams:
            stream.close()


def _read_told(parts: Sequence[Path]) -> dict[Path, dict[str, Any]]:
    """What is known of each part, by their numbers."""
    told: dict[int, tuple[Path, dict[str, Any]]] = {}
    for part in parts:
        if not part.is_file() or not told_by(part).is_file():
            raise UsageError(
                f"{part} is no finished part: it and {told_by(part).name} beside it are what "
                "wbczoo predict --shard leaves. Finish it with --resume."
            )
        document = files.read_json(told_by(part))
        if files.sha256_of(part) != document["rows"]:
            raise WbczooError(f"{part} is not as it was written; make it again.")
        if document["shard"] in told:
            other = told[document["shard"]][0]
            raise UsageError(f"{part} and {other} are the same shard; give each once.")
        told[document["shard"]] = part, document
    (one, first), *others = told.values()
    for part, document in others:
        if document["of"] != first["of"]:
            raise UsageError(f"{one} is one of {first['of']} shards, {part} of {document['of']}.")
        if (document["images"], document["paths"]) != (first["images"], first["paths"]):
            raise UsageError(
                f"{one} and {part} are of different lists of images. Name the same images, in the "
                "same way, on every machine."
            )
        before, now = first["made_by"], document["made_by"]
        if other_things := [n for n in {**before, **now} if before.get(n) != now.get(n)]:
            raise UsageError(f"{one} and {part} were made by another {some(other_things)}.")
    if missing := [f"{n}/{first['of']}" for n in range(1, first["of"] + 1) if n not in told]:
        raise UsageError(f"Shards are missing: {some(missing)}.")
    return {part: document for _, (part, document) in sorted(told.items())}


def _images(records: Iterable[bytes], columns: Sequence[str], several: bool) -> Iterator[bytes]:
    """The records of each image, as one."""
    if not several:
        yield from records
        return
    image, before = b"", None
    for record in records:
        row = _row(record, columns)
        if before is not None and begins_image(row, before):
            yield image
            image = b""
        image, before = image + record, row
    if image:
        yield image


def _row(record: bytes, columns: Sequence[str]) -> Row:
    """A record's path, and its box if it has one."""
    if not columns:
        return dict(json.loads(record))
    values: Row = table_line(record, columns)
    if values.get("left"):
        values["box"] = [int(values[side]) for side in BOX_COLUMNS]
    return values
