"""What `bench fields` says of fields and their cells; no speed is asserted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import drawn_fields
import numpy as np
import onnxruntime
import pytest
import tiny_export
import torch
from commands import Completed
from onnx import TensorProto, helper, save

from wbczoo.bench.field_contestants import do
from wbczoo.bench.field_speed import compare
from wbczoo.bench.plain_fields import PlainLoop
from wbczoo.bench.torch_graph import TorchGraph
from wbczoo.cells import find, network
from wbczoo.errors import WbczooError
from wbczoo.runtime.named import resolve

TASKS = {task.name: list(task.classes) for task in tiny_export.TASKS}


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return drawn_fields.write_fields(tmp_path_factory.mktemp("fields"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_fields.write_model(tmp_path_factory.mktemp("model") / "model.onnx")


def test_bench_fields_compares_each_in_its_own_process(
    wbczoo: Callable[..., Completed], fields: list[Path], model: Path
) -> None:
    command = ("bench", "fields", fields[0].parent, "--model", model, "--cells", "all")
    done = wbczoo(*command, "--threads", "1", "--rounds", "1", "--json")
    document = json.loads(done.stdout)
    assert document["images"] == len(
        [cells for cells in drawn_fields.FIELDS.values() if cells is not None]
    )
    ours, *loops = document["rows"]
    assert len(loops) == 3
    cells = ours["agreement"]["cells"]
    assert cells > 4
    for row in document["rows"]:
        assert row["error"] is None, row
        assert {*row["fields_per_second"]} == ({"8"} if row is ours else {"1", "8"})
        if "scikit-image" not in row["name"]:  # which halves images by a mean that rounds otherwise
            assert row["agreement"]["same"] == row["agreement"]["equal"] == cells
            assert row["agreement"]["cells"] == cells
            assert row["agreement"]["probability_difference"] < 1e-2
    best = max(max(row["fields_per_second"].values()) for row in loops)
    assert ours["ratio"] == pytest.approx(ours["fields_per_second"]["8"] / best)
    least = min(row["processor_ms"] for row in loops)
    assert ours["processor_ratio"] == pytest.approx(least / ours["processor_ms"])
    bound = document["bound_ms"]
    assert {*bound} == {"decoding", "finder", "classifier"}
    assert ours["of_bound"] == pytest.approx(sum(bound.values()) / ours["processor_ms"])


def test_bench_fields_wants_a_model_that_is_shown_cells_and_images_to_show(
    wbczoo: Callable[..., Completed], fields: list[Path], model: Path, small_export: Path
) -> None:
    asked = ("bench", "fields", fields[0].parent, "--model", small_export)
    assert "trained with --crop cell" in wbczoo(*asked, expect=2).stderr
    few = wbczoo("bench", "fields", fields[2], fields[3], "--model", model, expect=2)
    assert "1 of 2 images are files that can be read" in few.stderr


@pytest.mark.parametrize("every", [False, True])
def test_a_plain_loop_finds_the_cells_of_the_finder(
    every: bool, fields: list[Path], model: Path, tmp_path: Path
) -> None:
    shown = [path for path, cells in zip(fields, drawn_fields.FIELDS.values(), strict=True)
             if cells is not None]  # fmt: skip
    loop = PlainLoop(str(model), TASKS, "cell", tiny_export.SIZE, every=every)
    loop.answer_folder([*map(str, shown)], 2, tmp_path / "rows.csv")
    header, *lines = (line.split(",") for line in (tmp_path / "rows.csv").read_text().splitlines())
    assert header[:5] == ["path", "left", "top", "right", "bottom"]
    for path in shown:
        boxes = [tuple(map(int, line[1:5])) for line in lines if line[0] == str(path) and line[1]]
        image = drawn_fields.fields()[path.name]
        assert image is not None
        true = [each.box for each in find(image)]
        assert sorted(boxes) == sorted(set(true)) if every else {*boxes} <= {*true}
        assert len(boxes) == (len({*true}) if every else min(len(true), 1))


def test_pytorch_computes_what_onnxruntime_does() -> None:
    random = np.random.default_rng(0)
    light = random.random((2, 3, 64, 96), np.float32) / 2
    session = onnxruntime.InferenceSession(network.NETWORK, providers=["CPUExecutionProvider"])
    for layout in (False, True):
        graph = TorchGraph(network.NETWORK, ("heat", "reach"), channels_last=layout)
        for mine, right in zip(
            graph(torch.from_numpy(light)), session.run(None, {"x": light}), strict=True
        ):
            np.testing.assert_allclose(mine.numpy(), right, atol=1e-5)
    path = resolve("leukocyte-small") / "model.onnx"
    names = ["cell_probabilities", "leukocyte_probabilities"]
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    pixels = random.integers(0, 256, (2, 3, 128, 128)).astype(np.uint8)
    found = TorchGraph(path, names)(torch.from_numpy(pixels))
    for mine, right in zip(found, session.run(names, {"images": pixels}), strict=True):
        np.testing.assert_allclose(mine.numpy(), right, atol=5e-3)  # its weights are in fp16


def test_an_operator_that_pytorch_is_not_asked_for_is_named(tmp_path: Path) -> None:
    name = "cell_probabilities"
    values = [helper.make_tensor_value_info(each, TensorProto.FLOAT, [1]) for each in ("x", name)]
    nodes = [helper.make_node("Erf", ["x"], [name]), helper.make_node("Celu", ["x"], ["unused"])]
    save(helper.make_model(helper.make_graph(nodes, "g", values[:1], values[1:])), tmp_path / "m")
    with pytest.raises(WbczooError, match="operator Erf"):
        TorchGraph(tmp_path / "m", [name])
    options = {"model": str(tmp_path / "m"), "tasks": {"cell": []}, "crop": "cell", "size": [8, 8]}
    answer = do({"do": "open", "kind": "loop", "options": options})
    assert "operator Erf" in answer["error"]


def test_cells_are_the_same_where_their_boxes_nearly_are() -> None:
    ours = {
        "places": [0, 0, 1],
        "boxes": [[0, 0, 100, 100], [200, 0, 300, 100], [0, 0, 50, 50]],
        "classes": [["a"], ["b"], ["c"]],
        "probabilities": [[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]],
    }
    other = {
        "places": [0, 0, 1, 2],
        "boxes": [[201, 0, 300, 100], [0, 0, 100, 89], [0, 0, 50, 50], [0, 0, 50, 50]],
        "classes": [["b"], ["a"], ["a"], ["c"]],
        "probabilities": [[0.3, 0.7], [1.0, 0.0], [0.5, 0.5], [1.0, 0.0]],
    }
    found = compare(ours, other)
    assert found.pop("probability_difference") == pytest.approx(0.1)
    assert found == {"cells": 4, "same": 2, "equal": 1}
    none = {name: [] for name in ours}
    assert compare(none, other) == {
        "cells": 4, "same": 0, "equal": 0, "probability_difference": None,
    }  # fmt: skip
    assert compare(ours, none)["cells"] == 0
