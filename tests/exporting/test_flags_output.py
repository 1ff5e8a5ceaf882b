"""The graph tells the flags that a session tells, by limits that its caller may give."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from wbczoo.exporting.export import export
from wbczoo.exporting.flags import NAMES, add_flags, drop_flags
from wbczoo.images import Pixels
from wbczoo.runtime import Session
from wbczoo.runtime.flags import Limits
from wbczoo.tasks import CELL, NUCLEUS, Task
from wbczoo.training import checkpoint

LINEAGE = Task("lineage", ("lymphoid", "myeloid", "monocyte"))
TASKS: Sequence[tuple[Task, ...]] = (
    (CELL, NUCLEUS), (NUCLEUS,), (CELL,), (LINEAGE, NUCLEUS, CELL), (LINEAGE, Task("a", ("x", "y")))
)  # fmt: skip


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (9, 3, 64, 64), dtype=np.uint8)


def open_plainly(model: bytes | str) -> Any:
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def flags_by_rule(
    tasks: Sequence[Task], limits: Limits, outputs: dict[str, NDArray[Any]]
) -> list[list[str]]:
    """What the runtime says of each row."""
    found = []
    for row in range(len(outputs[f"{tasks[0].name}_probabilities"])):
        told = {}
        for task in tasks:
            values = outputs[f"{task.name}_probabilities"][row]
            place = int(values.argmax())
            told[task.name] = {"class": task.classes[place], "probability": float(values[place])}
        novelty = float(outputs["novelty"][row]) if "novelty" in outputs else None
        found.append(limits.flags(told, novelty))
    return found


def as_names(found: NDArray[np.bool_]) -> list[list[str]]:
    return [[name for name, is_so in zip(NAMES, row, strict=True) if is_so] for row in found]


@pytest.mark.parametrize("tasks", TASKS, ids=lambda tasks: "+".join(task.name for task in tasks))
@pytest.mark.parametrize("novelty", [True, False])
def test_any_tasks_are_flagged_as_by_the_runtime(tasks: tuple[Task, ...], novelty: bool) -> None:
    shapes: dict[str, list[Any]] = {
        f"{task.name}_probabilities": ["batch", len(task.classes)] for task in tasks
    }
    shapes |= {"novelty": ["batch"]} if novelty else {}
    nodes = [helper.make_node("Identity", [f"given_{name}"], [name]) for name in shapes]
    inputs, outputs = (
        [helper.make_tensor_value_info(f"{before}{name}", TensorProto.FLOAT, shape)
         for name, shape in shapes.items()]
        for before in ("given_", "")
    )  # fmt: skip
    proto = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs),
        opset_imports=[helper.make_opsetid("", 18)], ir_version=10,
    )  # fmt: skip
    bare = proto.graph.SerializeToString()
    limits = Limits(0.5 if novelty else None, {tasks[-1].name: 0.6})
    add_flags(proto, tasks, Limits())
    add_flags(proto, tasks, limits)  # the earlier output is replaced
    random = np.random.default_rng(0)
    values = {
        name: (random.dirichlet(np.ones(shape[1]), 300) if len(shape) > 1 else random.random(300))
        .astype(np.float32)
        for name, shape in shapes.items()
    }  # fmt: skip
    session = open_plainly(proto.SerializeToString())
    (found,) = session.run(["flags"], {f"given_{name}": each for name, each in values.items()})
    assert as_names(found) == flags_by_rule(tasks, limits, values)
    assert found.any(0).tolist() == [novelty, True, len(tasks) > 1 and NUCLEUS in tasks]
    drop_flags(proto)
    assert proto.graph.SerializeToString() == bare


def test_an_export_tells_flags_by_its_own_limits_or_by_a_caller_s(
    small_export: Path, pixels: Pixels
) -> None:
    path = small_export / "model.onnx"
    plain, session = open_plainly(str(path)), Session(small_export, device="cpu")
    told = plain.get_modelmeta().custom_metadata_map
    assert json.loads(told["wbczoo.flags"]) == ["unknown", "unsure", "contradicted"]
    assert session.limits is not None
    outputs = session.run(pixels)
    expected = flags_by_rule(session.tasks, session.limits, outputs)
    assert as_names(plain.run(["flags"], {"images": pixels})[0]) == expected
    given = Limits(
        float(np.median(outputs["novelty"])),
        {task.name: float(np.median(outputs[f"{task.name}_probabilities"].max(1)))
         for task in session.tasks},
    )  # fmt: skip
    limits = {
        "unknown_above": np.float32(given.unknown_above),
        "unsure_below": np.array([*given.unsure_below.values()], np.float32),
    }
    assert {each.name for each in plain.get_overridable_initializers()} == {*limits}
    limits["unknown_above"] = np.array(limits["unknown_above"])
    (found,) = plain.run(["flags"], {"images": pixels, **limits})
    assert as_names(found) == flags_by_rule(session.tasks, given, outputs)
    never = {"unknown_above": np.array(math.inf, np.float32), "unsure_below": np.zeros(2, "f4")}
    assert not plain.run(["flags"], {"images": pixels, **never})[0][:, :2].any()


def test_openvino_opens_it_too(small_export: Path, pixels: Pixels) -> None:
    pytest.importorskip("openvino")
    session = Session(small_export, device="cpu", engine="openvino")
    expected = Session(small_export, device="cpu").run(pixels)
    for name, values in session.run(pixels).items():
        np.testing.assert_allclose(values, expected[name], atol=1e-3)


def test_the_card_names_the_output_and_its_inputs(small_export: Path) -> None:
    page = (small_export / "card.md").read_text()
    assert "output `flags`, bool (batch, 3): unknown, unsure, contradicted" in page
    assert "`unsure_below`, float32 (2,)" in page


def test_where_no_novelty_was_fitted_the_card_names_neither_flags_nor_limits(
    small_run: Path, tmp_path: Path
) -> None:
    run, out = tmp_path / "run", tmp_path / "export"
    shutil.copytree(small_run, run)
    _, model = checkpoint.load_model(run)
    model.novelty = None  # as of too few training images
    checkpoint.save_model(run, model, epoch=1)
    card = export(run, out, speed="none", tell=lambda text: None)
    assert card["limits"] is None
    page = (out / "card.md").read_text()
    graph = open_plainly(str(out / "model.onnx"))
    assert [each.name for each in graph.get_inputs()] == ["images"]
    for name in ("flags", "novelty", "unsure_below"):
        assert f"`{name}`" not in page
        assert name not in [each.name for each in graph.get_outputs()]
