"""Rows as JSON lines and as CSV, whole, at once, and whatever the path's bytes are."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from tiny_export import TASKS

from wbczoo.runtime import Count, write_csv, write_jsonl

Row = dict[str, Any]

ANSWERED: Row = {
    "path": "cells/a,b.png",
    "tasks": {
        "cell": {
            "class": "monocyte",
            "probability": 0.7,
            "probabilities": {
                "eosinophil": 0.1,
                "lymphocyte": 0.15,
                "monocyte": 0.7,
                "neutrophil": 0.05,
            },
        },
        "nucleus": {
            "class": "mononuclear",
            "probability": 0.9,
            "probabilities": {"mononuclear": 0.9, "polynuclear": 0.1},
        },
    },
}
REFUSED: Row = {"path": 'ü "x"\n.png', "error": "The file is empty."}


def stream() -> io.TextIOWrapper:
    """A stream as stdout is: strict UTF-8."""
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")


def text(written: io.TextIOWrapper) -> str:
    return written.buffer.getvalue().decode("utf-8")  # type: ignore[attr-defined]


def test_a_json_line_for_each_row() -> None:
    out = stream()
    assert write_jsonl([ANSWERED, REFUSED], out) == Count(answered=1, refused=1)
    lines = text(out).splitlines()
    assert [json.loads(line) for line in lines] == [ANSWERED, REFUSED]
    assert "ü" in lines[1]


def test_csv_has_the_columns_of_every_task() -> None:
    out = stream()
    assert write_csv([ANSWERED, REFUSED], TASKS, out) == Count(answered=1, refused=1)
    assert text(out).startswith(
        "path,error,cell,cell_probability,cell_eosinophil,cell_lymphocyte,cell_monocyte,"
        "cell_neutrophil,nucleus,nucleus_probability,nucleus_mononuclear,nucleus_polynuclear\n"
    )
    answered, refused = csv.DictReader(io.StringIO(text(out), newline=""))
    assert answered["path"] == "cells/a,b.png"
    assert answered["error"] == ""
    assert answered["cell"] == "monocyte"
    assert float(answered["cell_probability"]) == 0.7
    assert float(answered["cell_lymphocyte"]) == 0.15
    assert float(answered["nucleus_polynuclear"]) == 0.1
    assert refused["path"] == REFUSED["path"]
    assert refused["error"] == "The file is empty."
    assert {refused[name] for name in list(refused)[2:]} == {""}


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", ",", '"'])
def test_a_name_may_hold_any_line_s_end(end: str) -> None:
    named = {"path": f"a{end}b.png", "error": "The file is empty."}
    out = stream()
    write_csv([named, named], TASKS, out)
    assert f'\n"a{end.replace(chr(34), chr(34) * 2)}b.png",' in text(out)
    assert [row["path"] for row in csv.DictReader(io.StringIO(text(out), newline=""))] == [
        named["path"]
    ] * 2


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_each_row_is_there_before_the_next_is_asked_for(form: str) -> None:
    out = stream()

    def rows() -> Iterator[Row]:
        for number in range(3):
            assert text(out).count("cells/a,b.png") == number
            yield ANSWERED

    found = write_jsonl(rows(), out) if form == "jsonl" else write_csv(rows(), TASKS, out)
    assert found == Count(answered=3, refused=0)


def test_a_path_that_is_no_text_crashes_no_stream() -> None:
    path = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    out = stream()
    write_jsonl([{"path": path, "error": "ü"}], out)
    assert json.loads(text(out))["path"] == path
    out = stream()
    write_csv([{"path": path, "error": "ü"}], TASKS, out)
    assert "caf\\udce9.png,ü," in text(out)


def test_a_terminal_that_knows_fewer_letters_is_written_to_all_the_same() -> None:
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii", newline="")
    write_jsonl([REFUSED], narrow)
    assert json.loads(text(narrow)) == REFUSED
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii", newline="")
    assert write_csv([{"path": "ü.png", "error": "e"}], TASKS, narrow).refused == 1
    # Without a file behind it a stream has no encoding.
    plain = io.StringIO()
    write_jsonl([REFUSED], plain)
    assert json.loads(plain.getvalue()) == REFUSED


def test_the_exit_code_says_whether_all_some_or_none_were_answered() -> None:
    assert Count(answered=2, refused=0).exit_code == 0
    assert Count(answered=2, refused=1).exit_code == 3
    assert Count(answered=0, refused=2).exit_code == 1
