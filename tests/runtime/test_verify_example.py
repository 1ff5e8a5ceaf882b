"""A whole export verifies; one whose weights, files or example changed does not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_export import SIZE, expected_logits, write_model

from wbczoo import files
from wbczoo.errors import UsageError, WbczooError
from wbczoo.runtime import verify


@pytest.fixture
def export(tmp_path: Path) -> Path:
    folder = tmp_path / "export"
    write_model(folder / "model.onnx")
    pixels = np.random.default_rng(3).integers(0, 256, (4, 3, *SIZE), dtype=np.uint8)
    arrays: dict[str, np.ndarray] = {"images": pixels}
    for task, logits in expected_logits(pixels).items():
        arrays[f"{task}_logits"] = logits.astype(np.float32)
        shares = np.exp(logits)
        arrays[f"{task}_probabilities"] = shares / shares.sum(axis=1, keepdims=True)
    np.savez(folder / "example.npz", **arrays)
    write_card(folder)
    return folder


def write_card(folder: Path) -> None:
    names = ("model.onnx", "example.npz")
    files.write_json(
        folder / "card.json", {"files": {name: files.sha256_of(folder / name) for name in names}}
    )


def rewrite(export: Path, **changed: np.ndarray | None) -> None:
    """Change arrays of the example (None takes one away), and the card with it."""
    with np.load(export / "example.npz") as archive:
        arrays = {**archive, **changed}
    np.savez(export / "example.npz", **{k: v for k, v in arrays.items() if v is not None})
    write_card(export)


def test_a_whole_export_verifies(export: Path) -> None:
    for given in (export, str(export / "model.onnx")):
        found = verify(given, "cpu")
        assert found.ok
        assert found.problems == ()
        assert found.images == 4
        assert found.provider == "CPUExecutionProvider"
        assert found.checked_files == ("model.onnx", "example.npz")
        assert found.logit_difference < 1e-5
        assert found.probability_difference < 1e-6
        largest = max(np.abs(v).max() for v in expected_logits(_images(export)).values())
        assert found.bound == pytest.approx(1e-4 * max(1, largest))


def _images(export: Path) -> np.ndarray:
    with np.load(export / "example.npz") as archive:
        return archive["images"]


def test_without_a_card_the_answers_alone_are_checked(export: Path) -> None:
    (export / "card.json").unlink()
    found = verify(export, "cpu")
    assert found.ok
    assert found.checked_files == ()


@pytest.mark.parametrize("scale", [1.001, -1.0, float("nan")])
def test_weights_that_are_others_do_not_verify(export: Path, scale: float) -> None:
    write_model(export / "model.onnx", scale=scale)
    write_card(export)
    found = verify(export, "cpu")
    assert not found.ok
    assert "The logits differ" in found.problems[0]
    assert not found.logit_difference <= found.bound


def test_probabilities_are_held_to_the_record_too(export: Path) -> None:
    with np.load(export / "example.npz") as archive:
        changed = archive["nucleus_probabilities"][:, ::-1].copy()
    rewrite(export, nucleus_probabilities=changed)
    found = verify(export, "cpu")
    assert [problem[:19] for problem in found.problems] == ["The probabilities d"]


def test_a_file_that_is_not_the_exported_one_is_named(export: Path) -> None:
    card = json.loads((export / "card.json").read_text())
    card["files"]["model.onnx"] = "0" * 64
    card["files"]["card.md"] = "0" * 64
    (export / "card.json").write_text(json.dumps(card))
    problems = verify(export, "cpu").problems
    assert len(problems) == 2
    assert "model.onnx is not the file that was exported" in problems[0]
    assert "card.md is missing" in problems[1]


def test_a_card_cannot_point_elsewhere(export: Path) -> None:
    card = json.loads((export / "card.json").read_text())
    card["files"]["../secret"] = "0" * 64
    (export / "card.json").write_text(json.dumps(card))
    with pytest.raises(WbczooError, match="no file beside it"):
        verify(export, "cpu")


def test_a_missing_model_or_example_is_told(export: Path, tmp_path: Path) -> None:
    (export / "example.npz").unlink()
    with pytest.raises(WbczooError, match=r"example\.npz is not there"):
        verify(export, "cpu")
    with pytest.raises(UsageError, match="not there"):
        verify(tmp_path / "nowhere", "cpu")


def test_an_example_that_cannot_be_one_is_told(export: Path) -> None:
    path = export / "example.npz"
    whole = path.read_bytes()
    for content in (b"", b"PK no archive", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(WbczooError, match=r"example\.npz is no readable example"):
            verify(export, "cpu")


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_an_example_with_a_pickle_in_it_is_refused_unopened(export: Path) -> None:
    rewrite(export, cell_logits=np.array([Trap(export / "sprung")], dtype=object))
    with pytest.raises(WbczooError, match="no readable example"):
        verify(export, "cpu")
    assert not (export / "sprung").exists()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"cell_logits": None}, "not of one export"),
        ({"cell_logits": np.zeros((4, 5), np.float32)}, "not of one export"),
        ({"cell_logits": np.full((4, 4), np.nan)}, "no numbers"),
        ({"images": np.zeros((0, 3, *SIZE), np.uint8)}, "no image"),
        ({"images": None}, "no readable example"),
        ({"images": np.zeros((4, 3, 9, 9), np.uint8)}, "does not fit the model"),
    ],
)
def test_an_example_of_another_export_is_told(
    export: Path, changed: dict[str, np.ndarray | None], reason: str
) -> None:
    rewrite(export, **changed)
    with pytest.raises(WbczooError, match=reason) as told:
        verify(export, "cpu")
    assert told.value.exit_code == 1
