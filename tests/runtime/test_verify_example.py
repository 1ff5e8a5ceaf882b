"""A whole export verifies; one that changed does not; hostile cards and examples are refused."""

from __future__ import annotations

import io
import json
import math
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hostile_models import ESCAPE, mutate
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


@pytest.mark.parametrize(("precision", "step"), [("fp16", 1e-3), ("int8", 1e-2)])
def test_a_precision_is_allowed_its_own_rounding_and_no_more(
    export: Path, precision: str, step: float
) -> None:
    """On another processor a value rounds to the other side at times, in fp16 by 2^-10 of it."""
    with np.load(export / "example.npz") as archive:
        recorded = {**archive}
    largest = max(np.abs(v).max() for n, v in recorded.items() if n.endswith("_logits"))
    write_model(export / "model.onnx", {"wbczoo.precision": precision})
    name = next(name for name in recorded if name.endswith("_logits"))
    for steps, holds in ((0.9, True), (2, False)):
        rewrite(export, **{name: recorded[name] + np.float32(steps * step * max(1, largest))})
        assert verify(export, "cpu").ok is holds


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
    (export / "card.md").write_text("figures")
    card = json.loads((export / "card.json").read_text())
    card["files"] |= {"card.md": "0" * 64, "labels.txt": "0" * 64}
    (export / "card.json").write_text(json.dumps(card))
    found = verify(export, "cpu")
    assert not found.ok
    assert len(found.problems) == 2
    assert "card.md is not the file that was exported" in found.problems[0]
    assert "labels.txt is missing" in found.problems[1]
    assert found.images == 4  # what is replayed is whole


@pytest.mark.parametrize("name", ["model.onnx", "example.npz"])
def test_a_file_that_the_card_disowns_is_not_opened(export: Path, name: str) -> None:
    (export / name).write_bytes(b"no " + name.encode())
    found = verify(export, "cpu")
    assert not found.ok
    assert f"{name} is not the file that was exported" in found.problems[0]
    assert "not opened" in found.problems[1]
    assert (found.images, found.provider) == (0, None)
    assert math.isnan(found.logit_difference)


def test_a_missing_model_or_example_is_told(export: Path, tmp_path: Path) -> None:
    (export / "example.npz").unlink()
    with pytest.raises(WbczooError, match=r"example\.npz is not there"):
        verify(export, "cpu")
    with pytest.raises(UsageError, match="neither a path nor a published model"):
        verify(tmp_path / "nowhere", "cpu")
    assert verify("leukocyte-nano", "cpu").ok  # by its name, as on the command line


def test_an_example_that_cannot_be_one_is_told(export: Path) -> None:
    path = export / "example.npz"
    whole = path.read_bytes()
    for content in (b"", b"PK no archive", whole[: len(whole) // 2]):
        path.write_bytes(content)
        write_card(export)
        with pytest.raises(WbczooError, match=r"example\.npz is no readable example"):
            verify(export, "cpu")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"cell_logits": None}, "not of one export"),
        ({"cell_logits": np.zeros((4, 5), np.float32)}, "not of one export"),
        ({"cell_logits": np.full((4, 4), np.nan)}, "no numbers"),
        ({"images": np.zeros((0, 3, *SIZE), np.uint8)}, "no image"),
        ({"images": None}, "not of one export"),
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


def refusal(export: Path) -> str:
    """What verify says, which is a sentence that a terminal can print."""
    with pytest.raises(WbczooError) as told:
        verify(export, "cpu")
    words = str(told.value)
    assert words.isprintable()
    assert len(words) < 1000
    assert told.value.exit_code == 1
    return words


CARDS: dict[str, tuple[str | bytes, str]] = {
    "no JSON": ("{", "cannot be read as JSON"),
    "no text": (b"\xff\xfe\x00", "cannot be read as JSON"),
    "deep": ('{"format": 1, "files": ' + "[" * 100_000, "cannot be read as JSON"),
    "long number": ('{"format": 1, "files": ' + "1" * 5000 + "}", "cannot be read as JSON"),
    "no object": ("[1]", "has format None"),
    "format": ('{"format": 2, "files": {}}', "has format 2"),
    "format of a terminal": (json.dumps({"format": ESCAPE}), "has format"),
    "no files": ('{"format": 1}', "gives no hash of model.onnx and example.npz"),
    "files are a list": ('{"format": 1, "files": ["model.onnx", "example.npz"]}', "gives no hash"),
    "half the hashes": ('{"format": 1, "files": {"model.onnx": "00"}}', "gives no hash of example"),
    "huge": (" " * (1 << 24) + '{"format": 1}', "and a card at most"),
}


@pytest.mark.parametrize("case", CARDS)
def test_a_card_that_is_none_is_refused(case: str, export: Path) -> None:
    content, reason = CARDS[case]
    (export / "card.json").write_bytes(content.encode() if isinstance(content, str) else content)
    assert reason in refusal(export)


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "..",
        "",
        "sub/secret",
        "/etc/hostname",
        "C:\\x",
        "a\0b",
        ESCAPE,
        "x" * 300,
        "\ud800",
    ],
)
def test_a_card_names_no_file_elsewhere(name: str, export: Path) -> None:
    (export.parent / "secret").write_bytes(b"")
    card = json.loads((export / "card.json").read_text())
    card["files"][name] = files.sha256_of(export.parent / "secret")
    (export / "card.json").write_text(json.dumps(card))
    assert "which is no file beside it" in refusal(export)


@pytest.mark.parametrize("name", ["card.md", "example.npz", "card.json", "model.onnx"])
def test_a_link_out_of_the_folder_is_not_followed(name: str, export: Path) -> None:
    (export / "card.md").write_text("figures")
    card = json.loads((export / "card.json").read_text())
    card["files"]["card.md"] = files.sha256_of(export / "card.md")
    (export / "card.json").write_text(json.dumps(card))
    assert verify(export, "cpu").ok
    (export / name).rename(export.parent / name)
    (export / name).symlink_to(export.parent / name)
    assert f"{name} is a link that leads out of its folder" in refusal(export)


def test_a_link_within_the_folder_and_a_linked_folder_are_no_reason(export: Path) -> None:
    (export / "example.npz").rename(export / "kept.npz")
    (export / "example.npz").symlink_to("kept.npz")
    (export.parent / "latest").symlink_to(export)
    assert verify(export, "cpu").ok
    assert verify(export.parent / "latest", "cpu").ok
    (export / "kept.npz").unlink()
    (export / "kept.npz").symlink_to("example.npz")  # in a circle
    assert "example.npz is not there" in refusal(export)


def array(values: object) -> bytes:
    """The bytes of a .npy file; objects are pickled."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(values), allow_pickle=True)
    return stream.getvalue()


def header(text: str) -> bytes:
    """The beginning of a .npy file, and no array after it."""
    encoded = text.encode("latin-1") + b"\n"
    return b"\x93NUMPY\x01\x00" + len(encoded).to_bytes(2, "little") + encoded


LOGITS = "cell_logits.npy"
TOO_LARGE = "{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999, 9)}"
EXAMPLES: dict[str, tuple[str, bytes, str]] = {
    "member more": ("evil.npy", array(np.zeros(1)), "and no more"),
    "member elsewhere": ("../../evil.npy", b"", "and no more"),
    "member of a terminal": (f"{ESCAPE}.npy", b"", "and no more"),
    "no array": (LOGITS, b"no array", "no readable example: a member is no array"),
    "half an array": (LOGITS, array(np.ones((4, 4)))[:-9], "no readable example"),
    "a header that lies": (LOGITS, header(TOO_LARGE), "no readable example"),
    "a header that calls": (LOGITS, header("__import__('os').abort()"), "no readable example"),
    "a header of a terminal": (LOGITS, header(f"{{'{ESCAPE}': 1}}"), "no readable example"),
    "words": (LOGITS, array([[ESCAPE] * 4] * 4), "records cell_logits as"),
    "whole numbers": (LOGITS, array(np.ones((4, 4), int)), "records cell_logits as int64"),
    "complex": (LOGITS, array(np.ones((4, 4), complex)), "records cell_logits as complex128"),
    "one number": (LOGITS, array(1.0), "records cell_logits as float64 ()"),
    "one pixel": ("images.npy", array(np.uint8(1)), "holds no image"),
    "many images": ("images.npy", array(np.zeros((65, 3, *SIZE), np.uint8)), "more than 64"),
    "floats": ("images.npy", array(np.zeros((4, 3, *SIZE))), "does not fit the model"),
}


@pytest.mark.parametrize("case", EXAMPLES)
def test_an_example_that_is_none_is_refused(case: str, export: Path) -> None:
    name, content, reason = EXAMPLES[case]
    replace(export, name, content)
    assert reason in refusal(export)


def replace(export: Path, name: str, content: bytes) -> None:
    """Another member in the example, and a card that approves of it."""
    path = export / "example.npz"
    with zipfile.ZipFile(path) as archive:
        members = {each: archive.read(each) for each in archive.namelist()}
    members[name] = content
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for each, held in members.items():
            archive.writestr(each, held)
    write_card(export)


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_an_example_with_a_pickle_in_it_is_refused_unopened(export: Path) -> None:
    trap = np.empty((1, 1), object)
    trap[0, 0] = Trap(export / "sprung")
    replace(export, LOGITS, array(trap))
    assert "no readable example" in refusal(export)
    assert not (export / "sprung").exists()


@pytest.mark.parametrize(
    ("said", "reason"), [(5 << 30, "would unpack to 5"), (200, "no readable example")]
)
def test_an_example_that_unpacks_to_gigabytes_is_refused_packed(
    said: int, reason: str, export: Path
) -> None:
    """It says 5 GB of itself; or it says less than it has, and no more is unpacked."""
    with zipfile.ZipFile(export / "example.npz") as archive:
        names = archive.namelist()
    with zipfile.ZipFile(export / "example.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, array(np.zeros(1 << 20, np.uint8)))
        archive.getinfo("images.npy").file_size = said
    write_card(export)
    assert reason in refusal(export)


def test_damaged_examples_verify_or_are_refused(export: Path) -> None:
    whole = (export / "example.npz").read_bytes()
    refused = []
    for seed in range(100):
        (export / "example.npz").write_bytes(mutate(whole, seed))
        write_card(export)
        try:
            verify(export, "cpu")
        except WbczooError as told:
            refused.append(str(told))
    assert len(refused) > 30
    assert [told for told in refused if not told.isprintable()] == []
