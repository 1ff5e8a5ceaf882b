"""A model that was trained on cells is asked about the best one, each one, or the whole image."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Completed
from drawn_fields import CROPPED, FIELDS, fields, smear, write_fields, write_model

from wbczoo import images
from wbczoo.cells import find
from wbczoo.cells.crop import best_cell
from wbczoo.errors import UsageError
from wbczoo.images import Pixels
from wbczoo.runtime import Session, predict_paths
from wbczoo.runtime.cells import Cells

ROWS = [name for name, cells in FIELDS.items() for _ in range(cells or 1)]


class Recording(Session):
    """Tells how many cells the network was asked about at once."""

    asked: list[int]

    def run(self, pixels: Pixels, **wanted: Any) -> dict[str, Any]:
        self.asked = [*getattr(self, "asked", []), len(pixels)]
        return super().run(pixels, **wanted)


@pytest.fixture(scope="module")
def cropping(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("cropping") / "model.onnx")


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_fields(tmp_path_factory.mktemp("fields"))


def read_by_name(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(Path(row["path"]).name, []).append(row)
    return found


@pytest.mark.parametrize("parallel", [1, 3])
def test_the_best_cell_of_each_image_is_answered_and_nothing_is_no_guess(
    cropping: Path, paths: list[Path], parallel: int
) -> None:
    session = Session(cropping, device="cpu", parallel=parallel)
    rows = list(predict_paths(session, paths, batch_size=4))
    assert [Path(row["path"]).name for row in rows] == [*FIELDS]
    for name, row in zip(FIELDS, rows, strict=True):
        image = fields()[name]
        if FIELDS[name] is None:
            assert [*row] == ["path", "error"]
        elif not FIELDS[name]:
            assert row == {"path": row["path"], "flags": ["no-cell"]}
        else:
            assert image is not None
            assert [*row] == ["path", "box", "flags", "tasks"]
            assert row["box"] == [*best_cell(find(image)).box]
            assert row["flags"] == (["at-edge"] if "edge" in name else [])
            # Training, cache and card read the same pixels by the preprocessing's crop.
            read = images.preprocess(image, CROPPED).transpose(2, 0, 1)[None]
            expected = session.run(read)["cell_probabilities"].max()
            assert row["tasks"]["cell"]["probability"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("parallel", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_each_cell_has_a_row_and_batches_reach_across_images(
    cropping: Path, paths: list[Path], parallel: int, batch_size: int
) -> None:
    session = Recording(cropping, device="cpu", parallel=parallel)
    rows = list(predict_paths(session, paths, batch_size=batch_size, workers=2, cells="all"))
    assert [Path(row["path"]).name for row in rows] == ROWS
    for name, found in read_by_name(rows).items():
        image = fields()[name]
        if FIELDS[name]:
            assert image is not None
            boxes = [row["box"] for row in found]
            assert sorted(boxes) == sorted([*each.box] for each in find(image))
            assert [box[1] for box in boxes] == sorted(box[1] for box in boxes)
            (alone,) = [r for r in found if r["box"] == [*best_cell(find(image)).box]]
            best = session.predict(image)[0]["tasks"]["cell"]
            assert alone["tasks"]["cell"]["class"] == best["class"]
    # Of three images: two cells, and nothing to ask of the other two; and of the next three six.
    sizes = {1: [1] * 8, 3: [2, 3, 3], 100: [8]}[batch_size]
    assert sorted(session.asked[: len(sizes)]) == sizes


def test_in_memory_an_answer_names_its_image_by_its_place(cropping: Path) -> None:
    session = Session(cropping, device="cpu")
    shown = [image for image in fields().values() if image is not None]
    answers = session.predict(shown, cells="all")
    assert [answer["image"] for answer in answers] == [0, 0, 1, 2, 2, 2, 2, 3, 4]
    assert all("image" not in answer for answer in session.predict(shown))


def test_the_whole_image_is_answered_as_a_model_without_a_crop_does(
    cropping: Path, model: Path, paths: list[Path]
) -> None:
    usual = [*predict_paths(Session(model, device="cpu"), paths)]
    assert [*predict_paths(Session(cropping, device="cpu"), paths, cells="whole")] == usual
    assert [*predict_paths(Session(model, device="cpu"), paths, cells="whole")] == usual
    assert all({*row} <= {"path", "error", "tasks"} for row in usual)


@pytest.mark.parametrize("cells", ["one", "all"])
def test_cells_are_refused_to_a_model_that_knows_none(model: Path, cells: Cells) -> None:
    with pytest.raises(UsageError, match=f"--cells {cells} .*trained with --crop cell"):
        Session(model, device="cpu").answers([], cells=cells)


def test_few_fields_are_in_memory_however_many_there_are(cropping: Path) -> None:
    taken = 0

    def endless() -> Iterator[Pixels]:
        nonlocal taken
        while True:
            taken += 1
            yield smear("neutrophil", 1)

    answers = Session(cropping, device="cpu").answers(
        endless(), batch_size=4, workers=2, cells="all"
    )
    most = max(taken - answer["image"] for answer in islice(answers, 24))
    assert most <= 4 + 3  # a batch, and a field more than threads look at


def test_a_table_has_columns_for_boxes_and_flags(
    cropping: Path, paths: list[Path], wbczoo: Any
) -> None:
    done: Completed = wbczoo(
        "predict", paths[0].parent, "--model", cropping, "--format", "csv", "--cells", "all",
        "--device", "cpu", expect=3,
    )  # fmt: skip
    table = list(csv.DictReader(done.stdout.splitlines()))
    assert [*table[0]][:8] == ["path", "error", "left", "top", "right", "bottom", "flags", "cell"]
    assert [Path(row["path"]).name for row in table] == ROWS
    assert [row["flags"] for row in table] == ["", "", "no-cell", *[""] * 6, "at-edge"]
    assert "5 images answered, 1 refused" not in done.stderr
    assert "4 images answered, 1 refused" in done.stderr
    assert "no white cell was found in 1 of 6 images" in done.stderr


def test_images_without_a_cell_are_told_and_no_failure(
    cropping: Path, model: Path, paths: list[Path], wbczoo: Any
) -> None:
    done = wbczoo("predict", paths[1], "--model", cropping, "--device", "cpu")
    assert json.loads(done.stdout) == {"path": str(paths[1]), "flags": ["no-cell"]}
    assert "no white cell was found in 1 of 1 images" in done.stderr
    refused = wbczoo("predict", paths[0], "--model", model, "--cells", "all", expect=2)
    assert "leave out --cells" in refused.stderr
    assert not refused.stdout


def test_a_field_of_very_many_cells_is_answered(cropping: Path) -> None:
    field = np.vstack([np.hstack([smear("neutrophil", 1)[::2, ::2]] * 10)] * 8)
    session = Recording(cropping, device="cpu")
    answers = session.predict(field, cells="all")
    assert len(answers) > 60
    assert max(session.asked) == 8
    boxes = [*chain.from_iterable(answer["box"] for answer in answers)]
    assert max(boxes) <= max(field.shape)


def test_a_differential_counts_each_cell_of_fields_and_names_what_it_left_out(
    cropping: Path, paths: list[Path], tmp_path: Path, wbczoo: Any
) -> None:
    for group, chosen in (("a", paths[:4]), ("b", paths[4:])):
        (tmp_path / group).mkdir()
        for path in chosen:
            shutil.copy(path, tmp_path / group)
    page = tmp_path / "page.html"
    arguments = ["differential", tmp_path / "a", tmp_path / "b", "--model", cropping,
                 "--device", "cpu", "--by", "folder"]  # fmt: skip
    done = wbczoo(*arguments, "--cells", "all", "--html", page, "--json", expect=3)
    first, second = json.loads(done.stdout)["groups"]
    assert (first["images"], first["cells"], first["refused"], first["no_cell"]) == (4, 6, 1, 1)
    assert first["counted"] + first["contradicted"] == 6
    assert (second["images"], second["cells"], second["at_edge"]) == (2, 2, 1)
    (edge,) = second["put_aside"]["at_edge"]
    assert edge["path"] == str(tmp_path / "b" / "05-edge.png")
    shown = page.read_text(encoding="utf-8")
    assert f"05-edge.png, box {' '.join(map(str, edge['box']))}" in shown
    assert "of 6 cells in 4 images counted" in shown
    one = wbczoo(*arguments, expect=3).stdout
    assert "of 4 images counted; 1 refused, 1 without a cell, 0 unsure" in one
    assert "of 2 images counted; 0 refused, 0 without a cell, 0 unsure" in one
