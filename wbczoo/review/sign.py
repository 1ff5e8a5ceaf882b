"""A reviewed count is signed here, and leaves as JSON, as a table and as a page."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from wbczoo import __version__, files
from wbczoo.errors import UsageError
from wbczoo.progress import tell
from wbczoo.review.added import is_there, seen_by_both
from wbczoo.review.agreement import compare
from wbczoo.review.count import BESIDE
from wbczoo.review.dataset import CELLS, TABLE, write_cells
from wbczoo.review.decisions import SKIPPED, Decided
from wbczoo.review.exchange import COCO, GEOJSON, LABEL_STUDIO, write_labels
from wbczoo.review.log import Entry
from wbczoo.review.prepare import now
from wbczoo.review.session import Review, check_name
from wbczoo.runtime.templates import render
from wbczoo.text import csv_line, printable

DIFFERENTIAL = "differential.json"
SIGNED = ("differential.html", "differential.csv", DIFFERENTIAL)
SECOND = "second"  # the folder of what the second of two reviewers signed
AGREEMENT = "agreement.json"

_INTERVAL = (
    "95 %, of all classes at once (Goodman 1965), by cell: it speaks of chance in which cells were "
    "photographed"
)


class Unseen(UsageError):  # noqa: N818 - what is left to do, no fault of the program
    """Flagged cells that nobody looked at; `cells` are their places."""

    def __init__(self, cells: list[int]) -> None:
        super().__init__(
            f"{len(cells)} flagged cells are unseen. Look at each, then sign."
            if len(cells) > 1
            else "One flagged cell is unseen. Look at it, then sign."
        )
        self.cells = cells


def sign(review: Review, by: str) -> dict[str, Any]:
    """Sign what a person sees; then it is read-only, and its files are in the folder.

    Returns:
        what `Review.changes` tells.

    Raises:
        Unseen: while nothing was said of a flagged cell.
        UsageError: if it is signed already.
    """
    by = check_name(by)
    with review.lock:
        slate, table = review.view(by)
        if slate.signed is not None:
            raise UsageError(f"{slate.signed['by']} signed it already.")
        if unseen := table.unseen():
            raise Unseen(unseen)
        at = now()
        told = _contents(describe(review, by, at, review.version, review.log.head))
        sha256 = {name: hashlib.sha256(content).hexdigest() for name, content in told.items()}
        # What an earlier signature wrote last goes first, so that a kill leaves it to be seen.
        (review.folder / TABLE).unlink(missing_ok=True)
        shutil.rmtree(review.folder / GEOJSON, ignore_errors=True)
        review.write({"at": at, "what": "sign", "by": by, "files_sha256": sha256,
                      "differential_sha256": sha256[DIFFERENTIAL]})  # fmt: skip
        write_signed(review)
        folder, cells = printable(str(folder_of(review, by))), printable(str(review.folder / CELLS))
        tell(f"{by} signed. In {folder}: {', '.join(SIGNED)}; the decided cells in {cells}.")
        return review.changes(by, review.version)


def reopen(review: Review, by: str, why: str) -> dict[str, Any]:
    """Let a signed view be changed again; the log keeps who did, and why.

    The files that are signed no longer are taken away.

    Returns:
        what `Review.changes` tells.

    Raises:
        UsageError: if it is not signed, or no reason is given.
    """
    by, why = check_name(by), why.strip()[:1000]
    with review.lock:
        if review.view(by)[0].signed is None:
            raise UsageError("It is not signed.")
        if not why:
            raise UsageError("Say why it is reopened.")
        review.write({"what": "reopen", "by": by, "why": why})
        write_signed(review)
        return review.changes(by, review.version)


def write_signed(review: Review) -> None:
    """See that a folder has the files of each signature, as they were signed, and no others."""
    with review.lock:
        for name, slate in review.decisions.slates.items():
            if slate.signed is not None:
                _write(review, folder_of(review, name), slate.signed)
            elif slate.reopened:
                for each in SIGNED:
                    (folder_of(review, name) / each).unlink(missing_ok=True)
        if not review.decisions.revealed:
            (review.folder / AGREEMENT).unlink(missing_ok=True)
        else:
            files.write_json(review.folder / AGREEMENT, describe_agreement(review))
        if not any(slate.signed for slate in review.decisions.slates.values()):
            return
        if not (review.folder / TABLE).exists():
            write_cells(review)
        if not all((review.folder / name).exists() for name in (COCO, LABEL_STUDIO, GEOJSON)):
            write_labels(review)


def folder_of(review: Review, by: str) -> Path:
    """Where the files of a person's signature are."""
    second = review.decisions.second
    return review.folder / SECOND if second and by == second[1] else review.folder


def describe(review: Review, by: str, at: str, lines: int, head: str) -> dict[str, Any]:
    """The signed differential as JSON holds it.

    Args:
        lines, head: of the log, before the line that signs.
    """
    begun, (slate, table) = review.prepared.begun, review.view(by)
    cells = Counter(
        cell.photograph for place, cell in enumerate(review.cells)
        if not cell.added or place in slate.decided
    )  # fmt: skip
    added = [
        {"path": review.prepared.photographs[review.cells[cell].photograph].path,
         "box": [*review.cells[cell].box], "class": said.to}
        for cell, said in sorted(slate.decided.items()) if review.cells[cell].added
    ]  # fmt: skip
    reopened = [{key: each[key] for key in ("by", "at", "why")} for each in slate.reopened]
    return {
        "wbczoo": __version__,
        "model": begun["model"],
        "task": begun["task"],
        **table.to_dict(review.ranges),
        "beside": [name for name in BESIDE if name in table.names],
        "interval": _INTERVAL,
        "notes": {name: text for name, text in slate.notes.items() if text},
        "put_aside": {
            SKIPPED: [
                {"path": review.prepared.photographs[review.cells[cell].photograph].path,
                 "box": [*review.cells[cell].box]}
                for cell, said in sorted(slate.decided.items()) if said.to == SKIPPED
            ],
        },
        **({"added": added} if added else {}),
        "reviewers": sorted({each.by for each in slate.decided.values()}),
        "photographs": [
            {"path": each.path, "sha256": each.sha256, "cells": cells[place],
             **({"error": each.error} if each.error else {})}
            for place, each in enumerate(review.prepared.photographs)
        ],
        **({"reopened": reopened} if reopened else {}),
        "signed": {"by": by, "at": at},
        "log": {"lines": lines, "sha256": head},
        "intended_use": begun["intended_use"],
        "not_for": begun["not_for"],
    }  # fmt: skip


def hashes_of(signed: Mapping[str, Any]) -> dict[str, str]:
    """The SHA-256 of each file that a line of the log signs; earlier versions signed one alone."""
    return {DIFFERENTIAL: signed["differential_sha256"], **signed.get("files_sha256", {})}


def _write(review: Review, folder: Path, signed: Entry) -> None:
    expected, paths = hashes_of(signed), [folder / name for name in SIGNED]
    changed = [
        path for path in paths
        if not path.exists()
        or (path.name in expected and files.sha256_of(path) != expected[path.name])
    ]  # fmt: skip
    if changed:
        lines, head = signed["n"] - 1, signed["before"]
        told = _contents(describe(review, signed["by"], signed["at"], lines, head))
        for path in changed:
            files.write_bytes(path, told[path.name])


def _contents(document: Mapping[str, Any]) -> dict[str, bytes]:
    """What stands in each of the files that are signed."""
    title = "Differential, reviewed and signed"
    text = json.dumps({"format": 1, **document}, indent=2, ensure_ascii=False, allow_nan=False)
    told = (render("signed.html", title=title, **document), _table(document), text + "\n")
    return {
        name: each.encode("utf-8", "surrogateescape")
        for name, each in zip(SIGNED, told, strict=True)
    }


def _table(document: Mapping[str, Any]) -> str:
    columns = ("class", "count", "percent", "low", "high", "reviewed", "proposed")
    text = io.StringIO()
    text.write(csv_line(columns))
    for name, row in document["classes"].items():
        text.write(csv_line([name, *(row.get(column, "") for column in columns[1:])]))
    return text.getvalue()


def describe_agreement(review: Review) -> dict[str, Any]:
    """How far two blind reviewers agree, and each cell on which they do not.

    Of a cell that one of them drew and the other did not, the other's class is None; it is among
    the differences, and not among the cells that both looked at.
    """
    assert review.decisions.second is not None
    first, second = (review.decisions.slates[name].decided for name in review.decisions.second)
    seen = seen_by_both(review.cells, first, second)
    both = [
        (cell, first[cell].to, second[other].to) for cell, other in seen.items()
        if SKIPPED not in (first[cell].to, second[other].to)
    ]  # fmt: skip
    paths = [review.prepared.photographs[each.photograph].path for each in review.cells]
    told = compare(
        [one for _, one, _ in both],
        [other for *_, other in both],
        [paths[cell] for cell, *_ in both],
    )
    drawn: list[tuple[int, str | None, str | None]] = [
        *((cell, said, None) for cell, said in _drawn(review, first, {*seen})),
        *((cell, None, said) for cell, said in _drawn(review, second, {*seen.values()})),
    ]
    return {
        "reviewers": [*review.decisions.second],
        "of": "cells of which both said something and that neither skipped",
        **told,
        "differences": [
            {"cell": cell, "path": paths[cell], "box": [*review.cells[cell].box],
             "first": one, "second": other}
            for cell, one, other in sorted([*both, *drawn], key=lambda each: each[0])
            if one != other
        ],
    }  # fmt: skip


def _drawn(
    review: Review, said: Mapping[int, Decided], known: Set[int]
) -> Iterator[tuple[int, str]]:
    """What one of them drew and still takes for a cell, and the other did not."""
    for cell, decided in said.items():
        found = review.cells[cell]
        if found.added and cell not in known and is_there(found, decided.to):
            yield cell, decided.to
