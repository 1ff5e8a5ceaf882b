"""The bench of maps: where evidence lies, and that Grad-CAM and occlusion say the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import tiny_export
from commands import Completed
from drawn_fields import CROPPED

from wbczoo.bench.evidence import read_field, shares_of, summarise
from wbczoo.bench.fields import Fields, read_fields
from wbczoo.bench.maps import bench_maps
from wbczoo.cells import find
from wbczoo.cells.crop import best_cell, crop_cell, square_around
from wbczoo.cells.white_cell import crop_white_cell, white_cell_square
from wbczoo.errors import UsageError
from wbczoo.runtime import Session
from wbczoo.runtime.maps import against_the_rest, open_maps


@pytest.fixture(scope="module")
def fields(smears: Path) -> Fields:
    return read_fields("synthetic", smears)


@pytest.fixture(scope="module", params=["cell", "white-cell", "none"])
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A tiny model with each crop, whose feature map is the pixels."""
    config = json.loads(tiny_export.metadata()["wbczoo.config"])
    config["model"]["backbone"]["name"] = "resnet18"
    preprocessing = {**asdict(CROPPED), "crop": request.param}
    path = tiny_export.write_model(
        tmp_path_factory.mktemp("model") / "model.onnx",
        {"wbczoo.config": json.dumps(config), "wbczoo.preprocessing": json.dumps(preprocessing)},
    )
    return Session(path, device="cpu")


def test_the_squares_are_those_that_are_shown(fields: Fields) -> None:
    image = fields.boxed[0].read()
    found = best_cell(find(image))
    left, top, side = square_around(found)
    assert crop_cell(image, found).shape[:2] == (side, side)
    assert (left + side // 2, top + side // 2) == pytest.approx(
        ((found.box[0] + found.box[2]) / 2, (found.box[1] + found.box[3]) / 2), abs=1
    )
    left, top, side = white_cell_square(image)
    shown = crop_white_cell(image)
    assert shown.shape[:2] == (side, side)
    # A balance of the light keeps the order of each channel's levels.
    part = image[top : top + side, left : left + side, 1]
    assert np.corrcoef(part.ravel(), shown[..., 1].ravel())[0, 1] > 0.99


def test_evidence_is_shared_out_among_the_cell_and_what_is_beyond(
    fields: Fields, session: Session
) -> None:
    read = read_field(session.file, fields.boxed[0])
    assert read is not None
    assert read.pixels.shape == (3, *tiny_export.SIZE)
    assert (read.regions.sum(0) == 1).all()
    # Of drawn smears the box holds the nucleus, and the slide beyond it is bright.
    green = read.pixels[1]
    assert green[read.regions[0]].min() < green[read.regions[2]].min()
    on_the_cell = np.where(read.regions[0], 2.0, -1.0)
    np.testing.assert_allclose(shares_of(on_the_cell, read), [1, 0, 0])
    np.testing.assert_allclose(shares_of(np.ones((1, 1)), read), read.regions.mean((1, 2)))
    assert np.isnan(shares_of(-np.ones((2, 2)), read)).all()
    painted = read.without(slice(0, 1))
    assert (painted[:, read.regions[0]] == 230).all()
    assert (painted[:, ~read.regions[0]] == read.pixels[:, ~read.regions[0]]).all()


def test_a_mean_has_its_interval_and_leaves_out_what_has_no_value(
    fields: Fields, session: Session
) -> None:
    read = [read_field(session.file, field) for field in fields.boxed[:4]]
    reads = [each for each in read if each is not None]
    values = {"it": np.array([1.0, np.nan] + [0.5] * (len(reads) - 2))}
    found = summarise(reads, values, resamples=20)["it"]
    assert found["value"] == pytest.approx(np.nanmean(values["it"]))
    assert found["low"] <= found["value"] <= found["high"]


@pytest.mark.nightly  # captum takes seconds to import
def test_grad_cam_is_the_map_and_occlusion_agrees(session: Session) -> None:
    pytest.importorskip("captum")
    from wbczoo.bench.oracles import grad_cam, occlusion

    pixels = np.random.default_rng(3).integers(0, 256, (1, 3, *tiny_export.SIZE), dtype=np.uint8)
    evidence = against_the_rest(session.run(pixels, maps=True)["cell_map"][0])
    network = open_maps(session.file, session.provider, 1)
    for best in range(4):
        found = grad_cam(network, "cell", pixels, best)
        np.testing.assert_allclose(found, evidence[best], atol=1e-7)
    # What brighter pixels speak for falls where they are darkened: the model is linear.
    fall = occlusion(session, "cell", pixels, 0)
    assert fall.shape == tiny_export.SIZE
    white = session.run(np.full_like(pixels, 230), maps=True)["cell_map"][0]
    whole = evidence[0].sum() - against_the_rest(white)[0].sum()
    assert np.sign(fall.sum()) == np.sign(whole)


def test_one_command_tells_it_of_a_published_model(
    wbczoo: Callable[..., Completed], smears: Path
) -> None:
    given = ("--data", f"synthetic={smears}", "--model", "leukocyte-nano", "--limit", "3")
    done = wbczoo("bench", "maps", *given, "--no-oracles", "--resamples", "20", "--json")
    document = json.loads(done.stdout)
    assert [row["task"] for row in document["models"]] == ["cell", "nucleus", "leukocyte"]
    for row in document["models"]:
        assert row["images"] + row["elsewhere"] <= 3
        assert row["positions"] == [7, 7]
        for kind in ("shares", "areas"):
            assert sum(each["value"] for each in row[kind].values()) == pytest.approx(1)
        assert row["oracles"] is None
    page = wbczoo("bench", "maps", *given, "--no-oracles", "--resamples", "20").stdout
    assert "in the cell's box" in page
    assert "7 by 7 positions" in page


def test_what_cannot_be_measured_is_said(smears: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Name at least one data set"):
        bench_maps({}, ["leukocyte-nano"], oracles=False)
    blind = tiny_export.write_model(tmp_path / "model.onnx")
    with pytest.raises(UsageError, match="no backbone"):
        bench_maps({"synthetic": smears}, [blind], oracles=False)
