"""Damaged and hostile models end with a sentence: no crash, no hang, nothing else is read."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hostile_models import FILES, MODELS, PLACES, adding, changed, length_of, mutate, outside
from onnx import ModelProto, TensorProto, helper
from sentences import Ask, is_sentence

from wbczoo.errors import WbczooError
from wbczoo.runtime import Session
from wbczoo.runtime.onnx_file import check_self_contained

MUTATED = 600


@pytest.fixture(scope="module")
def good(small_export: Path) -> bytes:
    return (small_export / "model.onnx").read_bytes()


@pytest.fixture(scope="module")
def image(smears: Path) -> Path:
    return min(smears.rglob("*.jpg"))


@pytest.mark.parametrize("case", [*FILES, *MODELS])
def test_what_is_no_export_is_refused_with_its_reason(
    case: str, good: bytes, image: Path, ask: Ask, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    content, reason = (
        (FILES[case][0](good), FILES[case][1])
        if case in FILES
        else (changed(good, MODELS[case][0]), MODELS[case][1])
    )
    path.write_bytes(content)
    code, _, told = ask("predict", image, image, "--model", path, "--device", "cpu")
    assert code == 1, told
    assert is_sentence(told), told
    assert re.search(reason, told), told


def test_mutated_models_answer_or_are_refused(
    good: bytes, image: Path, ask: Ask, export: Path
) -> None:
    """The card knows the right file, so that beside it nothing that was changed is opened."""
    path, alone = export / "model.onnx", export.parent / "model.onnx"
    ends = {0: 0, 1: 0, 3: 0}
    for seed in range(MUTATED):
        content = mutate(good, seed)
        alone.write_bytes(content)
        code, out, told = ask("predict", image, "--model", alone, "--device", "cpu")
        assert code in ends, (seed, code, told)
        ends[code] += 1
        if code == 0:
            assert set(json.loads(out)["tasks"]) == {"cell", "nucleus"}, seed
        elif not out:
            assert is_sentence(told), (seed, told)
        if seed % 5 == 0 and content != good:
            path.write_bytes(content)
            code, out, told = ask("predict", image, "--model", export, "--device", "cpu")
            assert code == 1, (seed, told)
            assert is_sentence(told), (seed, told)
            code, out, told = ask("verify", export, "--device", "cpu", "--json")
            assert code == 3, (seed, told)
            assert "model.onnx is not the file that was exported" in json.loads(out)["problems"][0]
    assert ends[0] > MUTATED / 10
    assert ends[1] > MUTATED / 10


def test_a_damaged_model_without_its_card_is_verified_by_its_answers(
    good: bytes, ask: Ask, export: Path
) -> None:
    (export / "card.json").unlink()
    for seed in range(1000, 1040):
        (export / "model.onnx").write_bytes(mutate(good, seed))
        code, out, told = ask("verify", export, "--device", "cpu")
        assert code in (0, 1, 3), (seed, code, told)
        assert out if code != 1 else is_sentence(told), (seed, told)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file outside the export's folder: four times 2.5."""
    path = tmp_path / "secret.bin"
    np.full(4, 2.5, np.float32).tofile(path)
    return path


@pytest.mark.parametrize("place", PLACES)
def test_weights_in_another_file_are_refused_wherever_they_are_named(
    place: str, good: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(changed(good, adding(outside("weights.bin"), place)))
    with pytest.raises(WbczooError, match="keeps weights in another file"):
        check_self_contained(path)


@pytest.mark.parametrize(
    "tag", [b"\x6a", b"\xea\x00", b"\xea\x80\x80\x80\x00", b"\xea\x80\x80\x80\x10"]
)
def test_a_tag_written_in_more_bytes_than_it_needs_hides_nothing(
    tag: bytes, good: bytes, tmp_path: Path
) -> None:
    """Of the last one, readers that keep 32 bits keep the field 13: another file's name."""
    entry = outside("../secret.bin").external_data[0].SerializeToString()
    tensor = b"\x42\x01w" + tag + length_of(len(entry)) + entry
    initializer = b"\x2a" + length_of(len(tensor)) + tensor
    path = tmp_path / "model.onnx"
    path.write_bytes(good + b"\x3a" + length_of(len(initializer)) + initializer)
    with pytest.raises(WbczooError, match=r"in another file|is damaged"):
        check_self_contained(path)


def test_nothing_outside_the_folder_is_read(good: bytes, secret: Path, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(good)
    pixels = np.zeros((1, 3, 64, 64), np.uint8)
    right = Session(folder, device="cpu").run(pixels)["cell_logits"]
    os.link(secret, folder / "hard.bin")
    (folder / "soft.bin").symlink_to(secret)
    for location in ("hard.bin", "soft.bin", "../secret.bin", str(secret), "*/_ORT_MEM_ADDR_/*"):
        content = changed(good, adding(outside(location), "initializer"))
        (folder / "model.onnx").write_bytes(content)
        with pytest.raises(WbczooError, match="keeps weights in another file"):
            Session(folder, device="cpu")
        if location == "hard.bin":  # onnxruntime by itself reads it; before 1.24 all but the last
            runtime = onnxruntime.InferenceSession(
                folder / "model.onnx", providers=["CPUExecutionProvider"]
            )
            (read,) = runtime.run(["cell_logits"], {"images": pixels})
            np.testing.assert_allclose(read, right + 10, atol=1e-4)


def test_a_mutated_reference_to_another_file_is_never_overlooked(
    good: bytes, tmp_path: Path
) -> None:
    """What the reader of the ONNX package sees there, this one sees too, or refuses the file."""
    model = onnx.load_model_from_string(good)
    del model.graph.node[3:], model.graph.initializer[:], model.graph.value_info[:]
    met = 0
    path = tmp_path / "model.onnx"
    for place in PLACES:
        content = changed(model.SerializeToString(), adding(outside("../secret.bin"), place))
        for seed in range(60):
            path.write_bytes(mutate(content, seed) or b"\0")
            try:
                read = onnx.load(path, load_external_data=False)
            except Exception:
                continue
            if "data_location: EXTERNAL" in str(read):
                met += 1
                with pytest.raises(WbczooError):
                    check_self_contained(path)
    assert met > 60


@pytest.mark.parametrize("name", ["", "ai.onnx", "ai.onnx.ml", "com.microsoft"])
def test_operators_that_onnxruntime_brings_are_no_reason(
    name: str, good: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"

    def add(model: ModelProto) -> None:
        model.graph.node.append(helper.make_node("Run", ["images"], ["ran"], domain=name))

    path.write_bytes(changed(good, add))
    check_self_contained(path)


def test_an_operator_that_opens_a_file_is_refused(good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"

    def add(model: ModelProto) -> None:
        node = helper.make_node("EPContext", [], ["ran"], domain="com.microsoft")
        model.graph.node.append(node)

    path.write_bytes(changed(good, add))
    with pytest.raises(WbczooError, match="EPContext, which opens another file"):
        check_self_contained(path)


@pytest.mark.parametrize("place", ["branch", "function"])
def test_an_operator_of_another_domain_is_found_in_branches_and_functions(
    place: str, good: bytes, tmp_path: Path
) -> None:
    def strange(model: ModelProto) -> None:
        parts = model.functions if place == "function" else [model.graph.node[0].attribute[0].g]
        parts[0].node[0].domain = "evil"

    path = tmp_path / "model.onnx"
    known = adding(helper.make_tensor("outside", TensorProto.FLOAT, [4], [0.0] * 4), place)
    path.write_bytes(changed(good, known))
    check_self_contained(path)
    path.write_bytes(changed(good, known, strange))
    with pytest.raises(WbczooError, match="needs operators of the domain 'evil'"):
        check_self_contained(path)


def test_a_file_with_much_weight_is_looked_through_without_reading_it(
    good: bytes, tmp_path: Path
) -> None:
    """Half a gigabyte of weights, which take no room on the disk until somebody reads them."""
    path = tmp_path / "model.onnx"
    size = 1 << 29
    raw = b"\x4a" + length_of(size)  # TensorProto.raw_data
    tensor = b"\x2a" + length_of(len(raw) + size) + raw
    graph = b"\x3a" + length_of(len(tensor) + size) + tensor
    with path.open("wb") as stream:
        stream.write(good + graph)
        stream.truncate(stream.tell() + size)
    check_self_contained(path)
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size - 1)
    with pytest.raises(WbczooError, match=f"has {path.stat().st_size} bytes of at least"):
        check_self_contained(path)
