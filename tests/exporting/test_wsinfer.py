"""TorchScript for WSInfer and QuPath answers as the export, and is described as they read it."""

from __future__ import annotations

import importlib.util
import json
import os
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from commands import ROOT, Completed

from wbczoo.errors import UsageError
from wbczoo.exporting.wsinfer import refuse
from wbczoo.runtime import Session
from wbczoo.specs import Preprocessing

Run = Callable[..., Completed]

# The fields of wsinfer-zoo's model-config.schema.json, spec_version 1.0.
FIELDS = {
    "spec_version": {"const": "1.0"},
    "architecture": {"type": "string"},
    "num_classes": {"type": "integer", "minimum": 1},
    "patch_size_pixels": {"type": "integer", "minimum": 1},
    "spacing_um_px": {"type": "number", "minimum": 0},
    "class_names": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
    "transform": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "name": {"enum": ["Resize", "ToTensor", "Normalize"]},
                "arguments": {"type": "object"},
            },
            "additionalProperties": False,
            "required": ["name"],
        },
    },
}
SCHEMA = {"type": "object", "properties": FIELDS, "required": [*FIELDS]}


@pytest.mark.parametrize("run", ["small_run", pytest.param("network", marks=pytest.mark.nightly)])
def test_a_patch_is_answered_as_by_the_graph(
    run: str, request: pytest.FixtureRequest, wbczoo: Run, tmp_path: Path
) -> None:
    wbczoo("export", request.getfixturevalue(run), "--out", tmp_path / "a", "--speed", "none",
           "--layout", "wsinfer", "--um-per-pixel", ".14")  # fmt: skip
    session = Session(tmp_path / "a", device="cpu")
    folders = sorted((tmp_path / "a" / "wsinfer").iterdir())
    assert len(folders) == len(session.tasks)
    with np.load(tmp_path / "a" / "example.npz") as example:
        images = example["images"]
        for folder, task in zip(folders, session.tasks, strict=True):
            config = json.loads((folder / "config.json").read_text())
            jsonschema.validate(config, SCHEMA)
            published = importlib.util.find_spec("wsinfer_zoo")
            if published is not None and published.origin is not None:
                schema = Path(published.origin).parent / "schemas" / "model-config.schema.json"
                jsonschema.validate(config, json.loads(schema.read_text()))
            assert tuple(config["class_names"]) == task.classes
            assert config["num_classes"] == len(task.classes)
            assert (config["patch_size_pixels"], config["spacing_um_px"]) == (64, 0.14)
            assert [each["name"] for each in config["transform"]] == ["Resize", "ToTensor"]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                script = torch.jit.load(folder / "torchscript_model.pt")
            with zipfile.ZipFile(folder / "torchscript_model.pt") as held:
                content = b"".join(map(held.read, held.namelist()))
                assert os.fspath(ROOT).encode() not in content  # of whoever exports
            for some in (images[:1], images[:5]):
                answered = script(torch.from_numpy(some).float() / 255).softmax(1).numpy()
                expected = example[f"{task.name}_probabilities"][: len(some)]
                np.testing.assert_allclose(answered, expected, atol=1e-5)
    card = json.loads((tmp_path / "a" / "card.json").read_text())["wsinfer"]
    assert card["difference"] <= card["bound"]
    assert "0.14 micrometres per pixel" in (tmp_path / "a" / "card.md").read_text()
    again = ("export", request.getfixturevalue(run), "--out", tmp_path / "a", "--speed", "none")
    wbczoo(*again, "--overwrite")
    assert not (tmp_path / "a" / "wsinfer").exists()


def test_what_has_no_scale_or_is_no_square_patch_is_refused(
    wbczoo: Run, small_run: Path, small_export: Path, tmp_path: Path
) -> None:
    def refused(*given: object) -> str:
        done = wbczoo("export", *given, "--out", tmp_path / "a", expect=2)
        assert not (tmp_path / "a").exists()
        return done.stderr

    assert "--um-per-pixel: how many micrometres" in refused(small_run, "--layout", "wsinfer")
    wanted = ("--layout", "wsinfer", "--um-per-pixel")
    assert "such as .1" in refused(small_run, *wanted, "0")
    assert "is traced from PyTorch" in refused(small_export, *wanted, ".1")
    assert "cut patches of one width" in refused("leukocyte-small", *wanted, ".1")
    assert "give both" in refused(small_run, "--um-per-pixel", ".1")
    built = tmp_path / "cropping"
    parts = ("--seq", "gru", "--hidden", "8", "--weights", "none", "--crop", "white-cell")
    wbczoo("build", *parts, "--out", built)
    assert "reads the crop" in refused(built, *wanted, ".1")
    with pytest.raises(UsageError, match="are square"):
        refuse(Preprocessing(size=(64, 80)), 0.1)
