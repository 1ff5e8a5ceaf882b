"""A folder's review is compared with what its log says: line by line, and file by file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wbczoo import files
from wbczoo.errors import ImageRefused, UsageError
from wbczoo.images.walk import Found
from wbczoo.review.cells import by_path, read_bytes
from wbczoo.review.log import LOG, check, head_of
from wbczoo.review.prepare import ANSWERS


@dataclass(frozen=True)
class Checked:
    """What was found: the log's faults, and those of the files that it speaks of."""

    lines: int
    head: str
    faults: list[str]


def check_folder(folder: Path, images: Sequence[Found] = ()) -> Checked:
    """Compare log, answers, signed differentials, and photographs that are named.

    Raises:
        UsageError: if no review is in the folder.
    """
    if not (folder / LOG).exists():
        raise UsageError(f"{folder} holds no {LOG}; name the folder of a review.")
    faults = [f"{LOG}, {fault}" for fault in check(folder)]
    lines, head = head_of(folder)
    if not faults and lines:
        entries = [json.loads(line) for line in _lines(folder / LOG)[:lines]]
        faults += _compare_files(folder, entries)
        faults += _compare_photographs(entries[0]["photographs"], by_path(images))
    return Checked(lines, head, faults)


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\n")


def _compare_files(folder: Path, entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    expected = [(folder / ANSWERS, entries[0]["answers_sha256"])]
    second = next((e["to"] for e in entries if e["what"] == "second"), None)
    signed: dict[Path, str] = {}
    for entry in entries:
        place = folder / "second" if entry.get("by") == second else folder
        if entry["what"] == "sign":
            signed[place / "differential.json"] = entry["differential_sha256"]
        elif entry["what"] == "reopen":
            signed.pop(place / "differential.json", None)
    for path, sha256 in [*expected, *signed.items()]:
        if not path.exists():
            yield f"{path.relative_to(folder)} is not there."
        elif files.sha256_of(path) != sha256:
            yield f"{path.relative_to(folder)} is not what the log says that it was."


def _compare_photographs(
    begun: Sequence[Mapping[str, Any]], images: Mapping[str, Found]
) -> Iterator[str]:
    for each in begun if images else ():
        if each["path"] not in images:
            yield f"{each['path']}, a photograph, was not named."
            continue
        try:
            content = read_bytes(images[each["path"]])
        except ImageRefused as refusal:
            content = b""
            if not each["error"]:
                yield f"{each['path']}, a photograph: {refusal}"
                continue
        if hashlib.sha256(content).hexdigest() != each["sha256"]:
            yield f"{each['path']}, a photograph, is another file than when the review began."
