"""`export --maps`: a graph that says itself what each position adds, for whoever runs it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from commands import call
from middle_graphs import middle_features
from tiny_export import SIZE, write_model

from wbczoo.errors import UsageError
from wbczoo.exporting.adapting.graph import read_adaptable, write_adapted
from wbczoo.exporting.adapting.refit import Correction, Refit
from wbczoo.exporting.half import half_graphs
from wbczoo.exporting.maps import add_maps, drop_maps
from wbczoo.exporting.resize import embed
from wbczoo.runtime import Session, verify
from wbczoo.training.checkpoint import load_model


def outputs(path: Path, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """What onnxruntime alone gives."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, {"images": pixels}), strict=True))


@pytest.fixture(scope="module")
def mapped(network: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("mapped") / "export"
    assert call(["export", network, "--out", out, "--maps"]) == 0
    return out


def test_map_and_branch_are_pytorchs_own(mapped: Path, network: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 64, 64), dtype=np.uint8)
    found = outputs(mapped / "model.onnx", pixels)
    config, model = load_model(network)
    with torch.inference_mode():
        scaled = torch.from_numpy(pixels).float() / 255
        feature_map = model.backbone((scaled - model.mean) / model.std)  # type: ignore[misc]
        branch = model.sequence((scaled * model.grey).sum(1))  # type: ignore[misc]
        logits = model(torch.from_numpy(pixels))
    height, width = feature_map.shape[2:]
    for task in config.model.tasks:
        head = model.heads[f"{task.name}_head"]
        weights = head.weight.detach()
        split = feature_map.shape[1]
        shares = torch.einsum("nchw,kc->nkhw", feature_map, weights[:, :split]) / (height * width)
        rest = branch @ weights[:, split:].T + head.bias.detach()
        name = task.name
        assert found[f"{name}_map"].shape == (3, len(task.classes), height, width)
        np.testing.assert_allclose(found[f"{name}_map"], shares, atol=1e-5)
        np.testing.assert_allclose(found[f"{name}_branch"], rest, atol=1e-5)
        whole = found[f"{name}_map"].sum((2, 3)) + found[f"{name}_branch"]
        bound = 1e-4 * max(1.0, float(logits[name].abs().max()))
        np.testing.assert_allclose(whole, logits[name], atol=bound)


def test_the_card_says_so_and_a_session_answers_as_before(mapped: Path, network: Path) -> None:
    card = json.loads((mapped / "card.json").read_text())
    assert card["maps"]["difference"] <= card["maps"]["bound"]
    page = (mapped / "card.md").read_text()
    assert "`cell_map`, `cell_branch`" in page
    down, across = card["maps"]["positions"]
    assert f"each of {down} by {across} positions" in page
    session = Session(mapped, device="cpu")
    pixels = np.load(mapped / "example.npz")["images"]
    assert "cell_map" not in session.run(pixels)
    by_reading, by_itself = session.run(pixels, maps=True), outputs(mapped / "model.onnx", pixels)
    for name, values in by_itself.items():
        np.testing.assert_allclose(by_reading[name], values, atol=1e-5)
    assert verify(mapped, device="cpu").ok


def test_a_graph_that_resizes_and_one_of_half_precision_have_them_too(
    network_export: Path, network: Path, tmp_path: Path
) -> None:
    plain = network_export / "model.onnx"
    camera = Path(shutil.copy(plain, tmp_path / "camera.onnx"))
    embed(camera, load_model(network)[0].model.preprocessing, None)
    photographs = np.random.default_rng(0).integers(0, 256, (2, 90, 120, 3), dtype=np.uint8)
    assert add_maps(camera, photographs)["difference"] < 1e-4
    _, half = next(half_graphs(onnx.load(plain)))
    told = {each.key: each.value for each in half.metadata_props}
    onnx.helper.set_model_props(half, {**told, "wbczoo.precision": "fp16"})
    onnx.save(half, tmp_path / "half.onnx")
    shown = np.load(network_export / "example.npz")["images"]
    assert add_maps(tmp_path / "half.onnx", shown)["difference"] < 0.01
    assert outputs(tmp_path / "half.onnx", shown)["cell_map"].dtype == np.float32


def test_an_adapted_model_has_maps_of_its_corrected_logits(mapped: Path, tmp_path: Path) -> None:
    session = Session(mapped, device="cpu")
    shown = np.load(mapped / "example.npz")["images"]
    given = read_adaptable(session.file, shown)
    width = middle_features(given, shown).shape[1]
    random = np.random.default_rng(0)
    corrections = {
        task.name: Correction(
            random.normal(size=(len(task.classes), width)), random.normal(size=len(task.classes))
        )
        for task in session.tasks
    }
    ones = {task.name: 1.0 for task in session.tasks}
    ours = tmp_path / "ours.onnx"
    write_adapted(given, Refit(corrections), ones, {}, shown, ours)
    found, before = outputs(ours, shown), outputs(mapped / "model.onnx", shown)
    assert [*found] == [*before]
    assert found["cell_map"].shape[2:] == given.positions[0]  # of the finest that is read now
    sums = [each["cell_map"].sum((2, 3)) for each in (found, before)]
    assert np.abs(sums[0] - sums[1]).max() > 0.01
    whole = sums[0] + found["cell_branch"]
    np.testing.assert_allclose(whole, found["cell_logits"], rtol=1e-4, atol=1e-4)


def test_they_leave_a_graph_without_a_trace(mapped: Path, network_export: Path) -> None:
    with_maps = onnx.load(mapped / "model.onnx")
    assert drop_maps(with_maps.graph)
    plain = onnx.load(network_export / "model.onnx")
    assert with_maps.graph == plain.graph
    assert not drop_maps(plain.graph)


def test_a_model_without_a_backbone_is_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.onnx")
    before = path.read_bytes()
    with pytest.raises(UsageError, match="no backbone"):
        add_maps(path, np.zeros((1, 3, *SIZE), np.uint8))
    assert path.read_bytes() == before
