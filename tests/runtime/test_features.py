"""Features are what the heads read, of every export, and stand in files that other tools read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from commands import ROOT, Completed
from onnx import numpy_helper
from tiny_export import SIZE, write_model
from tiny_images import picture

from wbczoo.errors import UsageError, WbczooError
from wbczoo.runtime import Session, find_images
from wbczoo.runtime.layers import Layer


@pytest.fixture
def named(tmp_path: Path) -> Path:
    """A model whose graph has one part, which its config calls the backbone."""
    config = json.loads(_config())
    config["model"]["backbone"]["name"] = "resnet18"
    return write_model(tmp_path / "export" / "model.onnx", {"wbczoo.config": json.dumps(config)})


def _config() -> str:
    from tiny_export import metadata

    return metadata()["wbczoo.config"]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.png").write_bytes(picture(number))
    (folder / "2.png").write_bytes(b"no image")
    return folder


def test_features_are_the_means_that_the_heads_read(named: Path) -> None:
    session = Session(named, device="cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, *SIZE), dtype=np.uint8)
    layers: list[Layer] = ["pooled", "fused"]
    found = session.run(pixels, layers=layers)
    plain = session.run(pixels)
    assert [*found] == [*plain, *layers]
    for layer in layers:
        np.testing.assert_allclose(found[layer], pixels.mean((2, 3)), rtol=1e-5)
    assert all(np.array_equal(found[name], plain[name]) for name in plain)
    assert session.run(pixels[:0], layers=layers)["pooled"].shape == (0, 3)


@pytest.mark.parametrize("name", ["leukocyte-small", "mobilenetv2-white-cell"])
def test_a_published_model_gives_what_its_heads_make_answers_of(name: str) -> None:
    folder = ROOT / "exports" / name
    session = Session(folder, device="cpu")
    pixels = np.load(folder / "example.npz")["images"][:3]
    found = session.run(pixels, layers=["fused"])
    weights = {
        each.name.removeprefix("model.heads.cell_head."): numpy_helper.to_array(each)
        for each in onnx.load(folder / "model.onnx").graph.initializer
        if each.name.startswith("model.heads.cell_head.")
    }
    logits = found["fused"] @ weights["weight"].T.astype(np.float32) + weights["bias"]
    assert found["fused"].dtype == np.float32
    np.testing.assert_allclose(logits, found["cell_logits"], atol=0.05)  # its weights are fp16


def test_features_keep_to_their_images_and_refuse_none_in_silence(
    named: Path, pictures: Path
) -> None:
    paths = sorted(pictures.iterdir())
    found = Session(named, device="cpu").features(paths, batch_size=2)
    assert found.places.tolist() == [0, 1, 3, 4]
    assert [Path(answer["path"]).name for answer in found.answers] == [
        "0.png", "1.png", "3.png", "4.png",
    ]  # fmt: skip
    assert [answer["path"] for answer in found.refused] == [str(paths[2])]
    alone = Session(named, device="cpu", parallel=2).features(paths[3])
    np.testing.assert_array_equal(found.values[2:3], alone.values)
    assert Session(named, device="cpu").features([]).values.shape == (0, 3)


def test_answers_name_the_path_of_what_lies_in_a_file(named: Path, pictures: Path) -> None:
    session = Session(named, device="cpu")
    for path in (pictures / "0.png", *find_images([pictures])):
        (answer,) = session.predict(path)
        assert answer["path"] == str(path)
    (answer,) = session.predict((pictures / "0.png").read_bytes())
    assert "path" not in answer


def test_a_layer_that_is_not_there_is_refused(named: Path, model: Path, tmp_path: Path) -> None:
    session = Session(named, device="cpu")
    with pytest.raises(UsageError, match="no sequence branch, so it has no layer"):
        session.features([], layer="sequence")
    with pytest.raises(UsageError, match="no layer 'last'; this model has pooled and fused"):
        session.features([], layer="last")  # type: ignore[arg-type]
    config = json.loads(_config())
    for part in ("backbone", "sequence"):
        config["model"][part]["name"] = "gru"
    strange = write_model(tmp_path / "two.onnx", {"wbczoo.config": json.dumps(config)})
    with pytest.raises(WbczooError, match="Export the run again"):
        Session(strange, device="cpu").features([])


def test_the_command_writes_arrays_beside_answers(
    wbczoo: Callable[..., Completed], named: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "features.npz"
    done = wbczoo("features", named, pictures, "--out", out, "--device", "cpu", expect=3)
    assert "2.png: " in done.stderr
    assert "4 images computed, 1 refused" in done.stderr
    assert "4 vectors of 3 numbers, layer pooled" in done.stderr
    found = np.load(out)
    assert found["features"].shape == (4, 3)
    assert found["path"].tolist() == [str(pictures / f"{n}.png") for n in (0, 1, 3, 4)]
    assert str(found["layer"]) == "pooled"
    assert str(found["weights_sha256"]) == "ab" * 32
    answers = Session(named, device="cpu").predict([*found["path"]])
    assert found["cell"].tolist() == [each["tasks"]["cell"]["class"] for each in answers]
    assert "is there already" in wbczoo("features", named, pictures, "--out", out, expect=2).stderr
    bad = wbczoo("features", named, pictures, "--out", tmp_path / "features.csv", expect=2)
    assert ".npz or .parquet" in bad.stderr
    wbczoo("features", named, pictures / "2.png", "--out", tmp_path / "none.npz", expect=1)
    assert not (tmp_path / "none.npz").exists()


def test_parquet_holds_the_same_and_says_what_it_is_of(
    wbczoo: Callable[..., Completed], named: Path, pictures: Path, tmp_path: Path
) -> None:
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    for suffix in ("npz", "parquet"):
        wbczoo("features", named, pictures, "--out", tmp_path / f"f.{suffix}", expect=3)
    table, arrays = parquet.read_table(tmp_path / "f.parquet"), np.load(tmp_path / "f.npz")
    assert table.schema.metadata[b"wbczoo.layer"] == b"pooled"
    np.testing.assert_array_equal(np.array(table["features"].to_pylist()), arrays["features"])
    assert table["path"].to_pylist() == arrays["path"].tolist()
