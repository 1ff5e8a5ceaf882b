"""The Python face: its public names, the road from images to answers, and what it does not load."""

from __future__ import annotations

import ast
import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import ROOT
from PIL import Image
from tiny_images import picture

import wbczoo
from wbczoo.errors import UsageError
from wbczoo.evaluation.figures import Evaluation
from wbczoo.runtime import Session

NAMES = {
    "adapt", "compare", "create_model", "evaluate", "export", "list_backbones", "list_baselines",
    "list_datasets", "list_models", "list_sequences", "load", "locate", "prepare_data", "pull",
    "push", "save_run", "train", "verify",
}  # fmt: skip


def test_the_public_names_are_these_for_readers_and_type_checkers() -> None:
    assert set(wbczoo.__all__) == NAMES
    tree = ast.parse((ROOT / "wbczoo" / "__init__.py").read_text())
    typed = {
        f"wbczoo.{wbczoo._PUBLIC[alias.name]}" == node.module and alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    assert typed == NAMES
    assert set(dir(wbczoo)) >= NAMES
    assert set(dir(wbczoo.runtime)) >= set(wbczoo.runtime.__all__)
    for name in NAMES:
        assert getattr(wbczoo, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        wbczoo.nothing  # noqa: B018
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"{name}(" not in page] == []


def test_listing_loads_nothing_that_is_slow() -> None:
    script = (
        "import sys, wbczoo\n"
        "assert 'mobilenetv2' in wbczoo.list_backbones()\n"
        "assert wbczoo.list_models()\n"
        "sys.exit(str({'numpy', 'pydantic', 'PIL', 'onnxruntime', 'torch'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr.strip() == "set()"


def test_parts_are_listed_by_a_pattern() -> None:
    assert wbczoo.list_backbones("*resnet*") == ["resnet18"]
    assert "timm/*" in wbczoo.list_backbones()
    assert wbczoo.list_sequences("bilstm*") == ["bilstm", "bilstm_features"]
    assert "bccd" in wbczoo.list_datasets()
    assert "majority" in wbczoo.list_baselines()
    assert wbczoo.list_datasets("nothing") == []


def test_a_family_is_listed_where_the_pattern_has_a_slash() -> None:
    found = wbczoo.list_backbones("torch*/resnet1*")
    assert {"torchvision/resnet18", "torchvision/resnet152"} <= set(found)
    assert all(name.startswith("torchvision/resnet1") for name in found)


def test_from_images_to_an_answer(smears: Path, tmp_path: Path) -> None:
    silent: list[str] = []
    run = wbczoo.train(
        "none", smears, dataset="synthetic", sequence="gru", hidden=8, image_size=64,
        tasks=["cell"], epochs=1, batch_size=8, device="cpu", out=tmp_path / "run",
        tell=silent.append,
    )  # fmt: skip
    assert Path(run) == tmp_path / "run"
    assert run.summaries[0]["protocol"] == "official"
    figures = wbczoo.evaluate(run, smears, resamples=50, tell=silent.append)
    cell = figures["cell"]
    assert cell.accuracy.low <= cell.accuracy.value <= cell.accuracy.high  # type: ignore[operator]
    assert cell.per_class["monocyte"].recall.value is not None
    assert [*figures] == ["cell"]
    assert str(cell.accuracy) in figures.table()
    assert figures.to_dict()["dataset"] == "synthetic"
    card = wbczoo.export(run, tmp_path / "export", tell=silent.append)
    assert [*card["tasks"]] == ["cell"]
    assert wbczoo.verify(tmp_path / "export").ok
    session = wbczoo.load(tmp_path / "export", device="cpu")
    (answer,) = session.predict(next((smears / "test").rglob("*.jpg")))
    assert answer["tasks"]["cell"]["class"] in cell.classes
    assert "writing the graph" in silent


def test_figures_that_are_undefined_say_so() -> None:
    nothing = {"value": None, "low": None, "high": None}
    task = {
        "classes": ["a", "b"], "files": 0, "groups": 0, "accuracy": nothing,
        "balanced_accuracy": nothing, "macro_f1": nothing, "ece": nothing, "per_class": {},
        "confusion": [[0, 0], [0, 0]],
    }  # fmt: skip
    assert str(Evaluation({"tasks": {"x": task}})["x"].accuracy) == "undefined"


def test_a_model_is_composed_with_python_s_types() -> None:
    model = wbczoo.create_model("none", "gru", hidden=8, image_size=64, tasks=["nucleus"])
    assert model.config.preprocessing.size == (64, 64)
    assert [task.name for task in model.config.tasks] == ["nucleus"]
    with pytest.raises(UsageError, match="'width' is no option"):
        wbczoo.create_model("resnet18", backbone_options={"width": 32})
    with pytest.raises(TypeError, match="hiden"):
        wbczoo.create_model("none", "gru", hiden=8)


def test_a_session_takes_one_image_in_every_form(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(picture(1))
    session = wbczoo.load(model, device="cpu")
    pixels = np.asarray(Image.open(path).convert("RGB"))
    (expected,) = session.predict([path])
    assert expected.pop("path") == str(path)
    assert "tasks" in expected
    for one in (path, str(path), path.read_bytes(), Image.open(path), pixels):
        named = {"path": str(path)} if isinstance(one, Path | str) else {}
        assert session.predict(one) == [{**named, **expected}]
    assert session.predict(np.stack([pixels, pixels])) == [expected, expected]
    assert session.predict(pixels[:, :, 0]) == session.predict([pixels[:, :, 0]])
    assert session.predict([]) == []


def _ask(session: Session, path: str) -> tuple[list[dict[str, Any]], int]:
    return session.predict(path), session._parallel


def test_a_session_is_opened_again_in_a_worker(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "a.png")
    Path(path).write_bytes(picture(1))
    monkeypatch.chdir(model.parent)
    session = wbczoo.load(model.name, device="cpu", threads=1, parallel=2)
    monkeypatch.chdir(tmp_path)
    again = pickle.loads(pickle.dumps(session))
    assert again.predict(path) == session.predict(path)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(_ask, session, path).result() == (session.predict(path), 2)


def test_a_published_model_is_loaded_by_its_name() -> None:
    name = wbczoo.list_models()[0].name
    assert wbczoo.load(name, device="cpu").path == wbczoo.load(device="cpu").path
    with pytest.raises(UsageError, match="neither a path nor a published model"):
        wbczoo.load("no-such-model")
