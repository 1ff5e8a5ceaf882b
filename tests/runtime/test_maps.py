"""Maps: the share of each position in a logit, of every export, and the pictures that show it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_export
from commands import ROOT, Completed
from drawn_fields import CROPPED, FIELDS, fields, write_fields
from onnx import helper, numpy_helper
from PIL import Image
from tiny_export import SIZE, TASKS, weights, write_model

from wbczoo.errors import UsageError, WbczooError
from wbczoo.files import flat_name
from wbczoo.runtime import Session
from wbczoo.runtime.maps import against_the_rest, spread
from wbczoo.runtime.overlay import AGAINST, FOR, overlay

Run = Callable[..., Completed]


def with_backbone(path: Path, *, cells: bool = False) -> Path:
    """The tiny model, whose feature map its config calls a backbone's: the pixels themselves."""
    config = json.loads(tiny_export.metadata()["wbczoo.config"])
    config["model"]["backbone"]["name"] = "resnet18"
    changed: dict[str, str | None] = {"wbczoo.config": json.dumps(config)}
    if cells:
        changed["wbczoo.preprocessing"] = json.dumps(asdict(CROPPED))
    return write_model(path, changed)


def rewritten(path: Path, change: Callable[[onnx.GraphProto], None]) -> Path:
    """The same file after a change of its graph."""
    model = onnx.load(path)
    change(model.graph)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def pixels(count: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, 3, *SIZE), dtype=np.uint8)


def assert_sums(session: Session, shown: np.ndarray, tolerance: float = 1e-5) -> None:
    found = session.run(shown, maps=True)
    plain = session.run(shown)
    for task in session.tasks:
        whole = found[f"{task.name}_map"].sum((2, 3)) + found[f"{task.name}_branch"]
        bound = tolerance * max(1.0, float(np.abs(plain[f"{task.name}_logits"]).max()))
        np.testing.assert_allclose(whole, plain[f"{task.name}_logits"], atol=bound)


def test_each_position_has_its_own_share(tmp_path: Path) -> None:
    session = Session(with_backbone(tmp_path / "model.onnx"), device="cpu")
    shown = pixels()
    found = session.run(shown, maps=True)
    further = ["cell_map", "cell_branch", "nucleus_map", "nucleus_branch"]
    assert [*found] == [*session.run(shown), *further]
    for task in TASKS:
        by_hand = np.einsum("nchw,ck->nkhw", shown / 1.0, weights(task.name)) / (SIZE[0] * SIZE[1])
        np.testing.assert_allclose(found[f"{task.name}_map"], by_hand, rtol=1e-5, atol=1e-7)
        assert not found[f"{task.name}_branch"].any()
    assert session.run(shown[:0], maps=True)["cell_map"].shape == (0, 4, *SIZE)
    with pytest.raises(UsageError, match="one after the other"):
        session.run(shown, maps=True, layers=["fused"])


@pytest.mark.parametrize("name", ["leukocyte-small", "leukocyte-nano", "mobilenetv2-white-cell"])
def test_the_maps_of_a_published_model_sum_up_to_its_logits(name: str) -> None:
    folder = ROOT / "exports" / name
    assert_sums(Session(folder, device="cpu"), np.load(folder / "example.npz")["images"], 1e-4)


def test_sums_hold_through_every_linear_step_and_over_maps_of_two_sizes(tmp_path: Path) -> None:
    def change(graph: onnx.GraphProto) -> None:
        """Heads read half the image beside the whole, and a branch; their logits are scaled."""
        constants = {
            "half": np.array([2], np.int64), "starts": np.array([0, 0], np.int64),
            "ends": np.array([12, 16], np.int64), "sides": np.array([2, 3], np.int64),
            "two": np.float32(2), "low": np.array([[0.5, 0.25]], np.float32),
            "scale": np.array([3.0], np.float32), "shift": np.array([0.125], np.float32),
        }  # fmt: skip
        graph.initializer.extend(
            numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
        )
        random = np.random.default_rng(2)
        old = {node.output[0]: node for node in graph.node}
        kept = [node for node in graph.node if node.op_type in ("Cast", "ReduceMean")]
        kept += [
            helper.make_node("Slice", ["values", "starts", "ends", "sides"], ["corner"]),
            helper.make_node("ReduceMean", ["corner", "axes"], ["small"], keepdims=0),
            helper.make_node("ReduceL2", ["values", "axes"], ["branch"], keepdims=0),
            helper.make_node("Concat", ["means", "small", "branch"], ["fused"], axis=1),
            helper.make_node("Identity", ["fused"], ["same"]),
        ]
        for task in TASKS:
            own, count = task.name, len(task.classes)
            for name, shape in (("w", (count, 9)), ("b", (count,))):
                values = random.normal(size=shape).astype(np.float32) / 50
                graph.initializer.append(numpy_helper.from_array(values, f"{own}_{name}"))
            kept += [
                helper.make_node("Gemm", ["same", f"{own}_w", f"{own}_b"], [f"{own}_dense"],
                                 transB=1, alpha=0.5, beta=2.0),
                helper.make_node("MatMul", ["means", f"{own}_weights"], [f"{own}_other"]),
                helper.make_node("Mul", ["scale", f"{own}_other"], [f"{own}_scaled"]),
                helper.make_node("Sub", [f"{own}_dense", f"{own}_scaled"], [f"{own}_less"]),
                helper.make_node("Div", [f"{own}_less", "two"], [f"{own}_halved"]),
                helper.make_node("Add", [f"{own}_halved", "shift"], [f"{own}_logits"]),
                old[f"{own}_probabilities"],
            ]  # fmt: skip
        del graph.node[:]
        graph.node.extend(kept)

    path = rewritten(with_backbone(tmp_path / "model.onnx"), change)
    session = Session(path, device="cpu")
    found = session.run(pixels(), maps=True)
    assert found["cell_map"].shape == (3, 4, *SIZE)
    assert found["cell_branch"].std(0).min() > 0  # the branch reads each image
    assert_sums(session, pixels())


def test_a_map_keeps_its_sum_on_another_grid_and_says_what_sets_a_class_apart() -> None:
    maps = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    np.testing.assert_allclose(spread(maps, (7, 9)).sum((2, 3)), maps.sum((2, 3)))
    np.testing.assert_allclose(spread(maps, (4, 5)), maps)
    np.testing.assert_allclose(spread(np.ones((1, 2)), (1, 3)), [[2 / 3, 2 / 3, 2 / 3]])
    np.testing.assert_allclose(against_the_rest(maps).sum(1), 0, atol=1e-12)


def test_a_model_without_positions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no backbone"):
        Session(write_model(tmp_path / "a" / "model.onnx"), device="cpu").run(pixels(), maps=True)

    def bend(graph: onnx.GraphProto) -> None:
        for node in [*graph.node]:
            if node.output[0].endswith("_logits"):
                node.op_type = "MatMul"
                bent = f"{node.output[0]}_bent"
                graph.node.insert(2, helper.make_node("Relu", ["means"], [bent]))
                node.input[0] = bent

    strange = rewritten(with_backbone(tmp_path / "b" / "model.onnx"), bend)
    with pytest.raises(WbczooError, match="cannot be parted over positions"):
        Session(strange, device="cpu").run(pixels(), maps=True)

    def flatten(graph: onnx.GraphProto) -> None:
        graph.node[1].output[0] = "one"
        graph.node[1].attribute[0].i = 1  # keepdims: a map of one position
        graph.node.insert(2, helper.make_node("ReduceMean", ["one", "axes"], ["means"], keepdims=0))

    whole = rewritten(with_backbone(tmp_path / "c" / "model.onnx"), flatten)
    with pytest.raises(UsageError, match="one position"):
        Session(whole, device="cpu").run(pixels(), maps=True)


@pytest.mark.parametrize("cells", ["one", "all", "whole"])
def test_rows_stay_and_each_answered_image_has_a_picture(
    wbczoo: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cells: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_fields(Path("fields"))
    with_backbone(Path("model.onnx"), cells=True)
    command = ("predict", "fields", "--model", "model.onnx", "--device", "cpu", "--cells", cells)
    plain = wbczoo(*command, expect=3).stdout
    assert wbczoo(*command, "--maps", "maps", "--draw", "drawn", expect=3).stdout == plain
    answered = {json.loads(line)["path"] for line in plain.splitlines() if '"tasks"' in line}
    assert {path.name for path in Path("maps").iterdir()} == {
        flat_name(path, ".png") for path in answered
    }
    assert len([*Path("drawn").iterdir()]) == len([f for f in FIELDS.values() if f is not None])
    with Image.open(Path("maps") / flat_name("fields/03-four.png", ".png")) as four:
        rows = plain.count("03-four.png")
        assert four.width > 3 * 256
        assert rows * 256 < four.height < (rows + 1) * 330 or cells == "whole"
    assert "is not empty" in wbczoo(*command, "--maps", "maps", expect=2).stderr
    assert "where images lie" in wbczoo(*command, "--maps", "fields", expect=2).stderr
    wbczoo(*command, "--maps", "maps", "--overwrite", expect=3)


def test_one_cell_is_drawn_for_whoever_asks(tmp_path: Path) -> None:
    session = Session(with_backbone(tmp_path / "model.onnx", cells=True), device="cpu")
    image = fields()["04-one.png"]
    assert image is not None
    (answer,) = session.predict(image)
    with Image.open(io.BytesIO(overlay(session, image, answer["box"]))) as picture:
        assert picture.format == "PNG"
        assert picture.width > 3 * 256
    with Image.open(io.BytesIO(overlay(session, image, answer["box"], task="cell"))) as panel:
        assert max(panel.size) == 256
        shown = np.asarray(panel.convert("RGB")).astype(int)
    nearest = [np.abs(shown - colour).sum(2).min() for colour in (FOR, AGAINST)]
    assert min(nearest) < 200  # it is tinted
    with pytest.raises(UsageError, match="no task 'colour'; this model has cell, nucleus"):
        overlay(session, image, task="colour")
    whole = Session(with_backbone(tmp_path / "whole" / "model.onnx"), device="cpu")
    assert overlay(whole, image)[:4] == b"\x89PNG"
    with pytest.raises(UsageError, match="Leave the box out"):
        overlay(whole, image, answer["box"])
