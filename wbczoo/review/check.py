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
from wbczoo.review.sign import SECOND, SIGNED, hashes_of

_UNKNOWN = "no hash"
_REOPENED = "reopened"


@dataclass(frozen=True)
class Checked:
    """What was found: the log's faults, and those of the files that it speaks of.

    Attributes:
        unchecked: sentences about files of which an earlier version's log has no hash.
    """

    lines: int
    head: str
    faults: list[str]
    unchecked: list[str]


def check_folder(folder: Path, images: Sequence[Found] = ()) -> Checked:
    """Compare log, answers, signed differentials, and photographs that are named.

    Raises:
        UsageError: if no review is in the folder.
    """
    if not (folder / LOG).exists():
        raise UsageError(f"{folder} holds no {LOG}; name the folder of a review.")
    faults = [f"{LOG}, {fault}" for fault in check(folder)]
    lines, head = head_of(folder)
    unchecked: list[str] = []
    if not faults and lines:
        entries = [json.loads(line) for line in _lines(folder / LOG)[:lines]]
        signed = _signed(folder, entries)
        faults += _compare_files(folder, entries[0]["answers_sha256"], signed)
        unchecked += [
            f"{path.relative_to(folder)} is not checked: the log, of an earlier version, has no "
            "hash of it. Reopen the review and sign it again to have one."
            for path, sha256 in signed.items() if sha256 == _UNKNOWN and path.exists()
        ]  # fmt: skip
        faults += _compare_photographs(entries[0]["photographs"], by_path(images))
    return Checked(lines, head, faults, unchecked)


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\n")


def _signed(folder: Path, entries: Sequence[Mapping[str, Any]]) -> dict[Path, str]:
    """The files of all signatures, and the SHA-256 of each, or why there is none."""
    second = next((e["to"] for e in entries if e["what"] == "second"), None)
    signed: dict[Path, str] = {}
    for entry in entries:
        place = folder / SECOND if second and entry.get("by") == second else folder
        if entry["what"] == "sign":
            sha256 = hashes_of(entry)
            signed |= {place / name: sha256.get(name, _UNKNOWN) for name in SIGNED}
        elif entry["what"] == "reopen":
            signed |= dict.fromkeys((place / name for name in SIGNED), _REOPENED)
    return signed


def _compare_files(folder: Path, answers: str, signed: Mapping[Path, str]) -> Iterator[str]:
    for path, sha256 in [(folder / ANSWERS, answers), *signed.items()]:
        name = path.relative_to(folder)
        if sha256 == _REOPENED:
            if path.exists():
                yield f"{name} is signed no longer, for it was reopened, and is there still."
        elif not path.exists():
            yield f"{name} is not there."
        elif sha256 != _UNKNOWN and files.sha256_of(path) != sha256:
            yield f"{name} is not what the log says that it was."


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
