"""White cells of files, folders, archives and lists: JSON lines, CSV, GeoJSON and pictures."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from commands import Completed
from PIL import Image, ImageDraw
from tiny_archives import write_tar, write_zip
from tiny_images import picture

import wbczoo
from wbczoo.cells import find
from wbczoo.errors import UsageError
from wbczoo.files import flat_name
from wbczoo_datasets.smear import render_photograph

Run = Callable[..., Completed]

# RFC 7946, as far as a collection of polygons goes, and what QuPath 0.4 and later reads of it
# (QuPathTypeAdapters: objectType, name, classification, measurements).
_NUMBERS = {"type": "object", "additionalProperties": {"type": "number"}}
_COLOUR = {
    "type": "array", "minItems": 3, "maxItems": 3,
    "items": {"type": "integer", "minimum": 0, "maximum": 255},
}  # fmt: skip
_POSITION = {"type": "array", "minItems": 2, "maxItems": 3, "items": {"type": "number"}}
_POLYGON = {
    "type": "object",
    "required": ["type", "coordinates"],
    "properties": {
        "type": {"const": "Polygon"},
        "coordinates": {
            "type": "array", "minItems": 1,
            "items": {"type": "array", "minItems": 4, "items": _POSITION},
        },
    },
}  # fmt: skip
_CELL = {
    "type": "object",
    "required": ["objectType", "name", "classification", "measurements"],
    "properties": {
        "objectType": {"enum": ["annotation", "detection", "cell", "tile"]},
        "name": {"type": "string"},
        "classification": {
            "type": "object",
            "required": ["name", "color"],
            "properties": {"name": {"type": "string", "minLength": 1}, "color": _COLOUR},
        },
        "measurements": _NUMBERS,
    },
}
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["type", "features"],
    "not": {"anyOf": [{"required": [name]} for name in ("coordinates", "geometry", "properties")]},
    "properties": {
        "type": {"const": "FeatureCollection"},
        "features": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "geometry", "properties"],
                "properties": {
                    "type": {"const": "Feature"}, "geometry": _POLYGON, "properties": _CELL,
                },
            },
        },
    },
}  # fmt: skip


def drawn(seed: int = 0) -> Image.Image:
    """A drawn photograph of 320x240 with one white cell."""
    classes = ("eosinophil", "lymphocyte", "monocyte", "neutrophil")
    return render_photograph(classes[seed % 4], np.random.default_rng(seed)).image


def as_bytes(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a field of two cells and one without any in `fields`."""
    (tmp_path / "fields").mkdir()
    two = np.concatenate([np.asarray(drawn(0)), np.asarray(drawn(2))], axis=1)
    Image.fromarray(two).save(tmp_path / "fields" / "two.png")
    Image.new("RGB", (90, 60), (230, 228, 220)).save(tmp_path / "fields" / "empty.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows_of(done: Completed) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_json_line_for_each_image_with_the_finder_s_boxes(wbczoo: Run, place: Path) -> None:
    empty, two = rows_of(wbczoo("locate", "fields"))
    assert empty == {"path": "fields/empty.png", "width": 90, "height": 60, "cells": []}
    assert (two["path"], two["width"], two["height"]) == ("fields/two.png", 640, 240)
    found = find(np.asarray(Image.open("fields/two.png").convert("RGB")))
    assert len(found) == 2
    assert two["cells"] == [
        {
            "box": [*cell.box],
            "score": cell.score,
            "nucleus": {"area": cell.nucleus.area, "diameter": cell.nucleus.diameter},
            "at_edge": cell.at_edge,
        }
        for cell in found
    ]
    assert rows_of(wbczoo("locate", "fields", "--least", "1"))[1]["cells"] == []


def test_a_csv_row_for_each_cell_and_for_each_image_without_one(wbczoo: Run, place: Path) -> None:
    (place / "fields" / "no.png").write_bytes(b"")
    done = wbczoo("locate", "fields", "--format", "csv", expect=3)
    empty, refused, *cells = csv.DictReader(io.StringIO(done.stdout))
    assert [empty[name] for name in ("path", "width", "cell", "error")] == [
        "fields/empty.png", "90", "", "",
    ]  # fmt: skip
    assert [refused["error"], refused["width"]] == ["The file is empty.", ""]
    assert [row["cell"] for row in cells] == ["1", "2"]
    first = rows_of(wbczoo("locate", "fields/two.png"))[0]["cells"][0]
    told = [float(cells[0][side]) for side in ("left", "top", "right", "bottom", "score")]
    assert told == [*first["box"], first["score"]]
    assert float(cells[0]["nucleus_area"]) == first["nucleus"]["area"]
    assert cells[0]["at_edge"] in ("true", "false")
    assert "2 images looked at, 1 refused" in done.stderr


def test_geojson_is_valid_and_has_the_fields_that_qupath_reads(wbczoo: Run, place: Path) -> None:
    document = json.loads(wbczoo("locate", "fields/two.png", "--format", "geojson").stdout)
    jsonschema.validate(document, SCHEMA)
    assert (document["path"], document["width"]) == ("fields/two.png", 640)
    (row,) = rows_of(wbczoo("locate", "fields/two.png"))
    for feature, cell in zip(document["features"], row["cells"], strict=True):
        (ring,) = feature["geometry"]["coordinates"]
        assert ring[0] == ring[-1]
        x, y = np.array(ring).T
        assert np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1]) > 0  # RFC 7946, 3.1.6
        assert [x.min(), y.min(), x.max(), y.max()] == cell["box"]
        assert feature["properties"]["objectType"] == "detection"
        assert feature["properties"]["measurements"]["Score"] == cell["score"]
    for broken in ({"features": []}, {**document, "features": [{"type": "Feature"}]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, SCHEMA)


def test_geojson_of_several_images_is_a_file_for_each(wbczoo: Run, place: Path) -> None:
    write_zip(place / "a.zip", {"two.png": (place / "fields/two.png").read_bytes(), "x.png": b""})
    done = wbczoo("locate", "fields", "a.zip", "--format", "geojson", "--out", "out", expect=3)
    assert done.stdout == ""
    assert "a.zip/x.png: The file is empty." in done.stderr
    assert "written: out, 3 documents\n" in done.stderr
    names = ["fields/empty.png", "fields/two.png", "a.zip/two.png"]
    assert {path.name for path in Path("out").iterdir()} == {
        flat_name(name, ".geojson") for name in names
    }
    for path in Path("out").iterdir():
        jsonschema.validate(json.loads(path.read_text(encoding="utf-8")), SCHEMA)
    for given, reason in (
        (("fields",), "name a folder for them with --out"),
        (("fields", "--out", "one.geojson"), "name a folder for them with --out"),
        (("fields", "--out", "out"), "is not empty"),
        (("fields/two.png", "--out", "fields"), "where images lie"),
    ):
        assert reason in wbczoo("locate", *given, "--format", "geojson", expect=2).stderr
    one = ("locate", "fields/two.png", "--format", "geojson", "--out", "one.geojson")
    assert "written: one.geojson\n" in wbczoo(*one).stderr
    jsonschema.validate(json.loads(Path("one.geojson").read_text(encoding="utf-8")), SCHEMA)
    assert "--overwrite" in wbczoo(*one, expect=2).stderr


def test_geojson_of_predict_has_a_colour_for_each_class(wbczoo: Run, place: Path) -> None:
    asked = ("--model", "leukocyte-nano", "--device", "cpu", "--cells", "all")
    (Path("fields") / "broken.png").write_bytes(b"")
    done = wbczoo("predict", "fields", *asked, "--format", "geojson", "--out", "answers", expect=3)
    assert "broken.png: The file is empty." in done.stderr
    documents = {}
    for path in Path("answers").iterdir():
        documents |= {(document := json.loads(path.read_text()))["path"]: document}
        jsonschema.validate(document, SCHEMA)
    assert {*documents} == {"fields/two.png", "fields/empty.png"}
    assert documents["fields/empty.png"]["features"] == []
    rows = rows_of(wbczoo("predict", "fields/two.png", *asked))
    features = documents["fields/two.png"]["features"]
    assert len(rows) == len(features) == 2
    colours: dict[str, list[int]] = {}
    for row, feature in zip(rows, features, strict=True):
        said, answer = feature["properties"], row["tasks"]["cell"]
        assert said["classification"]["name"] == answer["class"]
        colour = said["classification"]["color"]
        assert colours.setdefault(answer["class"], colour) == colour
        assert said["measurements"][f"cell: {answer['class']}"] == answer["probability"]
        assert {name for name in said["measurements"] if name.startswith("flag: ")} == {
            f"flag: {flag}" for flag in row["flags"]
        }
    for given, reason in (
        (("--out", "one.geojson"), "name a folder for them with --out"),
        (("--out", "new", "--cells", "whole"), "whole images have none"),
        (("--out", "new", "--resume"), "writes documents"),
    ):
        failed = wbczoo("predict", "fields", *asked, "--format", "geojson", *given, expect=2)
        assert reason in failed.stderr


def test_archives_lists_and_odd_names_are_read_as_predict_reads_them(place: Path) -> None:
    write_tar(place / "a.tar.gz", {"cell.png": as_bytes(drawn(1)), "half.png": picture(1)[:60]})
    odd = ['fields/a,"b".png', "fields/new\nline.png", "fields/ü.png"]
    if sys.platform not in ("win32", "darwin"):
        odd.append("fields/" + os.fsdecode(b"caf\xe9.png"))
    for name in odd:
        drawn(1).save(io.BytesIO(), "PNG")
        Path(name).write_bytes(as_bytes(drawn(1)))
    command = [sys.executable, "-m", "wbczoo", "locate", "-", "--null", "a.tar.gz",
               "--draw", "drawn", "--out", "rows.jsonl"]  # fmt: skip
    listed = "\0".join([*odd, "gone.png", "fields"])
    done = subprocess.run(
        command, input=os.fsencode(listed), capture_output=True, check=False, timeout=120
    )
    assert done.returncode == 3, done.stderr
    rows = [json.loads(line) for line in Path("rows.jsonl").read_text("utf-8").splitlines()]
    assert [row["path"] for row in rows] == [
        *odd, "gone.png", "fields", "a.tar.gz/cell.png", "a.tar.gz/half.png",
    ]  # fmt: skip
    good = [row["path"] for row in rows if "cells" in row]
    assert good == [*odd, "a.tar.gz/cell.png"]
    assert rows[len(odd)]["error"] == "The file is not there."
    assert {path.name for path in Path("drawn").iterdir()} == {
        flat_name(path, ".jpg") for path in good
    }


def test_rows_are_the_same_with_any_number_of_workers_and_nothing_is_overwritten(
    wbczoo: Run, place: Path
) -> None:
    for number in range(6):
        drawn(number).save(f"fields/{number}.png")
    alone = wbczoo("locate", "fields", "--workers", 1).stdout
    assert wbczoo("locate", "fields", "--workers", 3).stdout == alone
    wbczoo("locate", "fields", "--out", "rows.jsonl")
    assert Path("rows.jsonl").read_text(encoding="utf-8") == alone
    assert "--overwrite" in wbczoo("locate", "fields", "--out", "rows.jsonl", expect=2).stderr
    wbczoo("locate", "fields", "--format", "csv", "--out", "rows.jsonl", "--overwrite")
    assert Path("rows.jsonl").read_text(encoding="utf-8").startswith("path,error,")
    for option, name in (("--out", "fields/0.png"), ("--draw", "fields"), ("--draw", "rows.jsonl")):
        assert name in wbczoo("locate", "fields", option, name, expect=2).stderr
    assert "speak of a file" in wbczoo("locate", "fields", "--overwrite", expect=2).stderr


def test_what_is_no_smear_is_refused_or_without_a_cell(wbczoo: Run, place: Path) -> None:
    Path("bad").mkdir()
    text = Image.new("RGB", (300, 200), "white")
    ImageDraw.Draw(text).text((10, 10), "Leukocytes\n7.2 x 10^9 per litre\n", "black", font_size=30)
    rng = np.random.default_rng(0)
    for name, image in {
        "black": Image.new("RGB", (300, 200)),
        "grey": Image.new("L", (300, 200), 128),
        "noise": Image.fromarray(rng.integers(0, 256, (200, 300, 3), np.uint8)),
        "pixel": Image.new("RGB", (1, 1)),
        "strip": Image.new("RGB", (2000, 16), "white"),
        "text": text,
    }.items():
        image.save(f"bad/{name}.png")
    done = wbczoo("locate", "bad", "--draw", "drawn", expect=3)
    rows = {Path(row["path"]).stem: row for row in rows_of(done)}
    assert "1x1 pixels" in rows.pop("pixel")["error"]
    assert not any(row["cells"] for row in rows.values())
    assert len([*Path("drawn").iterdir()]) == 5
    wbczoo("locate", "bad/pixel.png", expect=1)
    assert "is not there" in wbczoo("locate", "nothing", expect=2).stderr


def test_a_field_of_five_hundred_cells_is_a_row_like_any(wbczoo: Run, place: Path) -> None:
    small = [np.asarray(drawn(seed).resize((120, 90))) for seed in range(5)]
    row = np.concatenate(small * 5, axis=1)
    Image.fromarray(np.concatenate([row] * 20)).save("many.png")
    (told,) = rows_of(wbczoo("locate", "many.png", "--draw", "drawn"))
    assert len(told["cells"]) > 200
    done = wbczoo("locate", "many.png", "--format", "csv")
    assert len(done.stdout.splitlines()) == 1 + len(told["cells"])
    with Image.open(next(Path("drawn").iterdir())) as picture:
        assert picture.size == (3000, 1800)


def test_the_python_face_takes_one_image_in_every_form(place: Path) -> None:
    image = drawn(1)
    image.save("a.png")
    (expected,) = wbczoo.locate("a.png")
    assert [*expected] == ["width", "height", "cells"]
    assert len(expected["cells"]) == 1
    for one in (Path("a.png"), Path("a.png").read_bytes(), image, np.asarray(image)):
        assert wbczoo.locate(one) == [expected]
    assert wbczoo.locate([image, "no.png"]) == [expected, {"error": "The file is not there."}]
    assert wbczoo.locate([]) == []
    for wrong in ({"least": 2.0}, {"workers": 0}):
        with pytest.raises(UsageError):
            wbczoo.locate(image, **wrong)
