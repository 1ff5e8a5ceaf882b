"""`predict --draw`: a picture of each answered image beside its rows, with every cell's class."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import Completed
from drawn_fields import FIELDS, fields, write_fields, write_model
from PIL import Image

from wbczoo.files import flat_name
from wbczoo.runtime.drawing import COLOURS

Run = Callable[..., Completed]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with drawn fields and a model that was trained on cells."""
    monkeypatch.chdir(tmp_path)
    write_fields(Path("fields"))
    write_model(Path("model.onnx"))
    return tmp_path


def read(name: str, folder: str = "drawn") -> np.ndarray:
    with Image.open(Path(folder) / flat_name(f"fields/{name}", ".jpg")) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def boxes_in(picture: np.ndarray) -> int:
    """Pixels near to one of the classes' colours, as a JPEG file has them."""
    colours = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in COLOURS[:4]]
    return max(int((np.abs(picture - colour).max(axis=2) < 12).sum()) for colour in colours)


@pytest.mark.parametrize("cells", ["one", "all", "whole"])
def test_rows_are_the_same_and_each_answered_image_has_a_picture(
    wbczoo: Run, place: Path, cells: str
) -> None:
    command = ("predict", "fields", "--model", "model.onnx", "--device", "cpu", "--cells", cells)
    plain = wbczoo(*command, expect=3).stdout
    assert wbczoo(*command, "--draw", "drawn", expect=3).stdout == plain
    good = [name for name, shown in FIELDS.items() if shown is not None]
    assert {path.name for path in Path("drawn").iterdir()} == {
        flat_name(f"fields/{name}", ".jpg") for name in good
    }
    four = fields()["03-four.png"]
    assert four is not None
    assert read("03-four.png").shape[0] % four.shape[0] == 0
    if cells == "all":
        wbczoo(*command[:-1], "one", "--draw", "best", expect=3)
        assert boxes_in(read("03-four.png")) > 1.5 * boxes_in(read("03-four.png", "best"))


def test_pictures_go_on_with_the_rows_and_replace_nothing_unasked(wbczoo: Run, place: Path) -> None:
    command = ("predict", "fields", "--model", "model.onnx", "--device", "cpu", "--draw", "drawn")
    wbczoo(*command, "--out", "rows.jsonl", expect=3)
    first = read("00-two.png")
    assert "is not empty" in wbczoo(*command, expect=2).stderr
    assert "where images lie" in wbczoo(*command[:-1], "fields", expect=2).stderr
    whole = Path("rows.jsonl").read_text(encoding="utf-8")
    wbczoo(*command, "--out", "rows.jsonl", "--overwrite", expect=3)
    assert Path("rows.jsonl").read_text(encoding="utf-8") == whole
    assert np.array_equal(read("00-two.png"), first)
