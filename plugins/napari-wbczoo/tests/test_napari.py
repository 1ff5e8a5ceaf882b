"""napari takes the manifest, the layers and the form, without a screen."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
napari = pytest.importorskip("napari")
npe2 = pytest.importorskip("npe2")

from wbczoo_datasets.fields import render_field  # noqa: E402

import napari_wbczoo  # noqa: E402
from napari_wbczoo.layers import make_layer  # noqa: E402

ROW = {"class": "monocyte", "probability": 0.9, "flags": "", "left": 10, "top": 20, "right": 50,
       "bottom": 80}  # fmt: skip


def test_the_manifest_is_valid_and_its_form_is_there() -> None:
    path = Path(napari_wbczoo.__file__).with_name("napari.yaml")
    manifest = npe2.PluginManifest.from_file(path)
    manifest.validate_imports()
    assert [each.display_name for each in manifest.contributions.widgets] == ["White blood cells"]


@pytest.mark.parametrize("shape", ["boxes", "points"])
@pytest.mark.parametrize("rows", [[], [ROW], [ROW, {**ROW, "flags": "unsure"}]], ids=len)
def test_napari_makes_the_layer(shape: str, rows: list) -> None:
    layer = napari.layers.Layer.create(*make_layer(rows, shape))
    assert len(layer.data) == len(rows)
    assert layer.features["class"].tolist() == ["monocyte"] * len(rows)


def test_the_form_answers_a_layer(tmp_path: Path) -> None:
    pytest.importorskip("qtpy.QtWidgets")
    from qtpy.QtWidgets import QApplication

    from napari_wbczoo.widget import make_widget

    application = QApplication.instance() or QApplication([])
    form = make_widget()
    field = render_field(2, np.random.default_rng(4), magnification=0.7).image
    smear = napari.layers.Image(field, name="field", scale=(0.1, 0.1))
    form.smear.choices = (smear,)
    data, about, kind = form(smear, "leukocyte-nano", "boxes", tmp_path / "cells.csv")
    assert kind == "shapes"
    assert len(data) == len((tmp_path / "cells.csv").read_text().splitlines()) - 1 >= 1
    layer = napari.layers.Layer.create(data, about, kind)
    assert layer.scale.tolist() == [0.1, 0.1]
    assert layer.name == f"field: {len(data)} white cells"
    form.close()
    application.processEvents()
