"""What a review's page is told when it begins: the cells, and what was said of them."""

from __future__ import annotations

import json
from typing import Any

from wbczoo.review.prepare import Prepared
from wbczoo.review.session import Review
from wbczoo.review.sign import folder_of
from wbczoo.text import printable


def describe_cells(prepared: Prepared) -> str:
    """The photographs and their cells as JSON, which stay as they are while a review is served.

    There may be ten thousand cells, so that each is a row: its photograph's place, four of its
    box, its class's place or -1, the probabilities, the flags.
    """
    place = {name: number for number, name in enumerate(prepared.task.classes)}
    told = {
        "photographs": [[p.path, p.width, p.height, p.error or ""] for p in prepared.photographs],
        "cells": [
            [c.photograph, *c.box, place.get(c.proposed or "", -1),
             [round(p, 4) for p in c.probabilities], " ".join(c.flags)]
            for c in prepared.cells
        ],
    }  # fmt: skip
    return json.dumps(told, separators=(",", ":"))


def describe(review: Review, by: str) -> dict[str, Any]:
    """What else a person's page needs: what things are called, and what was said of each cell."""
    prepared = review.prepared
    return {
        "model": prepared.begun["model"]["name"],
        "task": prepared.task.name,
        "proposes": [*prepared.task.classes],
        "classes": [[choice.name, choice.key] for choice in review.choices],
        "you": by,
        "folder": printable(str(folder_of(review, by).resolve())),
        "blind": [*(review.decisions.second or ())],
        "revealed": review.decisions.revealed,
        **review.changes(by, 0),
    }
