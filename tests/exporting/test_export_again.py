"""An export is laid out anew as it is, and what must be done before one that crops is told."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from commands import ROOT, Completed
from PIL import Image

from wbczoo.runtime import Session, verify
from wbczoo.runtime.published import find_published

Run = Callable[..., Completed]


def test_a_published_model_is_copied_byte_for_byte_and_asked_as_its_page_says(
    wbczoo: Run, smears: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wbczoo("export", "leukocyte-small", "--out", "exports/small")
    published = find_published("leukocyte-small")
    for name in ("model.onnx", "card.json", "card.md", "example.npz"):
        assert Path("exports/small", name).read_bytes() == (published / name).read_bytes()
    with Image.open(next(smears.rglob("*.jpg"))) as image:
        image.save("field.png")
    page = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    (code,) = [each for each in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
               if "crop_cells" in each]  # fmt: skip
    assert len([line for line in code.splitlines() if line]) == 10
    names: dict[str, object] = {}
    exec(compile(code, "docs/deployment.md", "exec"), names)
    expected = Session(published, device="cpu").predict("field.png", cells="all")
    boxes = sorted(list(each["tasks"]["cell"]["probabilities"].values()) for each in expected)
    found = sorted(np.asarray(names["answers"]).tolist())
    np.testing.assert_allclose(found, boxes, atol=1e-5)


def test_an_export_becomes_a_model_of_a_repository(
    wbczoo: Run, small_export: Path, tmp_path: Path
) -> None:
    out = tmp_path / "models"
    wbczoo("export", small_export, "--out", out, "--layout", "triton")
    assert verify(out / "gru", device="cpu").ok
    assert (out / "gru" / "config.pbtxt").is_file()
    again = ("export", small_export, "--out", out, "--layout", "triton")
    assert "--overwrite" in wbczoo(*again, expect=2).stderr


@pytest.mark.nightly  # 500 images are asked of each of several graphs
def test_an_export_in_fp32_is_put_into_less_precision_behind_the_same_gate(
    wbczoo: Run, small_export: Path, sure_run: Path, photographs: Path, tmp_path: Path
) -> None:
    wbczoo("export", sure_run, "--out", tmp_path / "sure", "--speed", "none")
    into = ("export", tmp_path / "sure", "--speed", "none", "--images", photographs)
    before = json.loads((tmp_path / "sure" / "card.json").read_text())
    for precision in ("fp16", "int8"):
        out = tmp_path / precision
        wbczoo(*into, "--precision", precision, "--out", out)
        assert verify(out, device="cpu").ok
        session = Session(out, device="cpu")
        assert session.file.precision == precision
        assert session.limits == Session(tmp_path / "sure", device="cpu").limits
        graph = onnx.load(out / "model.onnx").graph
        assert graph.output[-1].name == "flags"
        card = json.loads((out / "card.json").read_text())
        for same in ("parity", "weights_sha256", "data", "licences"):
            assert card[same] == before[same]
        agreement = card["agreement"]
        assert agreement["images"] + 96 * (precision == "int8") >= 474
        assert agreement["tasks"]["cell"]["equal"] >= 0.99 * agreement["images"]
        assert f"{agreement['images']} given images" in (out / "card.md").read_text()
    # What is in less precision stays as it is, and is no source of another one.
    again = ("export", tmp_path / "fp16", "--out", tmp_path / "again", "--precision")
    wbczoo(*again, "fp16")
    copied = (tmp_path / "again" / "model.onnx").read_bytes()
    assert copied == (tmp_path / "fp16" / "model.onnx").read_bytes()


def test_another_precision_wants_fp32_and_real_images(
    wbczoo: Run, small_export: Path, smears: Path, tmp_path: Path
) -> None:
    def refused(model: object, *options: object) -> str:
        return wbczoo("export", model, "--out", tmp_path / "a", *options, expect=2).stderr

    published = refused("leukocyte-nano", "--precision", "int8", "--images", smears)
    assert "is in fp16, and int8 is made of fp32" in published
    assert "wbczoo export RUN --precision int8" in published
    assert "Name a folder of them by --images" in refused(small_export, "--precision", "fp16")
    assert "asks about no --images" in refused(small_export, "--images", smears)
    assert not (tmp_path / "a").exists()


def test_what_only_a_run_can_give_is_refused(
    wbczoo: Run, small_export: Path, tmp_path: Path
) -> None:
    maps = ("export", small_export, "--out", tmp_path / "a", "--maps")
    assert "is an export already" in (told := wbczoo(*maps, expect=2).stderr)
    assert "; --maps is for the run" in told
    gone = wbczoo("export", "no-such-run", "--out", tmp_path / "a", expect=2).stderr
    assert "no-such-run is neither a path nor a published model" in gone
    (small_copy := tmp_path / "b").mkdir()
    for path in small_export.iterdir():
        (small_copy / path.name).write_bytes(path.read_bytes())
    (small_copy / "model.onnx").write_bytes(b"no model")
    damaged = wbczoo("export", small_copy, "--out", tmp_path / "a", expect=1).stderr
    assert "is damaged" in damaged
    assert not (tmp_path / "a").exists()
