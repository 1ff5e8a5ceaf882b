"""The bench of the finder: changed fields, pictures without a cell, and its one command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import Completed

from wbczoo.bench import finding
from wbczoo.bench.cell_free import KINDS, cut_pieces, draw_pictures
from wbczoo.bench.changed_fields import change, measure_changes
from wbczoo.bench.fields import Fields, read_fields
from wbczoo.bench.finder_speed import measure_speed
from wbczoo.errors import UsageError, WbczooError

Run = Callable[..., Completed]


@pytest.fixture(scope="module")
def fields(smears: Path) -> Fields:
    return read_fields("synthetic", smears)


def test_a_box_in_a_changed_field_comes_back_to_where_it_was() -> None:
    image = np.full((60, 80, 3), 240, np.uint8)
    image[20:40, 30:70] = (60, 20, 120)
    for name, changed, back in change(image, np.random.default_rng(0)):
        dark = changed[..., 1] < 120
        rows, columns = np.nonzero(dark.any(axis=1))[0], np.nonzero(dark.any(axis=0))[0]
        box = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        (again,) = back(np.array([box], float))
        assert again == pytest.approx([30, 20, 70, 40], abs=2), name


def test_changed_fields_tell_how_many_cells_are_found_again(fields: Fields) -> None:
    found = measure_changes(fields.boxed[:2], resamples=20)
    assert {"scaled by 0.7", "under another lamp", "turned by 90 degrees"} < {*found}
    for figures in found.values():
        assert figures["cells"] == 2
        assert figures["again"]["value"] == 1  # type: ignore[index]
        assert figures["again"]["low"] < 1  # type: ignore[index]


def test_pieces_show_no_box_and_drawn_pictures_are_the_same_each_time(fields: Fields) -> None:
    pieces = [*cut_pieces(fields.boxed[:12])]
    assert pieces
    for field, piece in pieces:
        assert piece.shape[0] < 0.7 * field.read().shape[0]
    for kind in KINDS:
        first, again = next(draw_pictures(kind, 1)), next(draw_pictures(kind, 1))
        assert np.array_equal(first, again)
        assert min(first.shape[:2]) >= 150


def test_speed_is_told_beside_the_network_s_own(fields: Fields) -> None:
    (row,) = measure_speed(fields.boxed[0], [(320, 240)])
    assert (row["width"], row["height"]) == (320, 240)
    assert row["of_bound"] == pytest.approx(row["bound_milliseconds"] / row["milliseconds"])
    assert row["peak_megabytes"] is None or row["peak_megabytes"] > 20


def test_the_whole_table_from_one_call(
    smears: Path, fields: Fields, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "_PICTURES", 1)
    monkeypatch.setattr(finding, "_FIELDS", 8)
    monkeypatch.setattr(finding, "measure_speed", lambda field: [{"path": field.path}])
    document = finding.bench_locate({"synthetic": smears}, every=40, resamples=20, tell=list)
    figures = document["sets"]["synthetic"]
    assert figures["images"] == figures["cells"] == len(fields.boxed)
    assert figures["centre"]["recall"]["value"] > 0.9
    assert figures["images_per_second"] > 0
    *kinds, every = document["without_cells"]
    assert every["pictures"] == sum(row["pictures"] for row in kinds)
    names = {row["kind"] for row in kinds}
    assert {"drawn: text", "drawn: red cells", "synthetic: pieces outside every box"} <= names
    assert document["speed"] == [{"path": fields.boxed[0].path}]
    assert document["changes"]["synthetic"]["scaled by 2"]["cells"] >= 1


def test_the_command_prints_recall_and_precision_by_rule(wbczoo: Run, smears: Path) -> None:
    command = (
        "bench",
        "locate",
        "--data",
        f"synthetic={smears}",
        "--boxes-only",
        "--resamples",
        20,
    )
    text = wbczoo(*command).stdout
    assert "IoU .5" in text
    assert "decoding, ms" in text
    document = json.loads(wbczoo(*command, "--json").stdout)
    assert [*document["sets"]] == ["synthetic"]
    assert "changes" not in document
    for given, reason in (("nothing", "DATASET=PATH"), ("synthetic=", "DATASET=PATH"),
                          ("nobody=a", "nobody"), ("synthetic=gone", "gone")):  # fmt: skip
        assert reason in wbczoo("bench", "locate", "--data", given, expect=2).stderr
    network = ("--network", "gone.onnx")
    assert "gone.onnx is not there" in wbczoo(*command, *network, expect=2).stderr


def test_a_data_set_without_boxes_is_refused(tmp_path: Path) -> None:
    for name in ("eosinophil", "monocyte"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"x")
    with pytest.raises(WbczooError, match="knows of no image where all its white cells are"):
        read_fields("folder", tmp_path)
    with pytest.raises(UsageError, match="at least one data set"):
        finding.bench_locate({})
