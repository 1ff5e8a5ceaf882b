"""A lone ONNX file opens, says what it is, and answers; anything else is told in a sentence."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_export import SIZE, TASKS, expected_logits, write_model

from wbczoo import images
from wbczoo.errors import UsageError, WbczooError
from wbczoo.runtime import Session, batches, devices
from wbczoo.specs import Preprocessing

Changed = Callable[[dict[str, str | None]], Path]


def test_the_file_alone_says_what_it_is(model: Path) -> None:
    for given in (model, model.parent, str(model), str(model.parent)):
        session = Session(given, device="cpu")
        assert session.tasks == TASKS
        assert session.preprocessing == Preprocessing(size=SIZE)
        assert session.config.model.tasks == TASKS
        assert session.version == "0.1.0"
        assert session.weights_sha256 == "ab" * 32
        assert session.provider == "CPUExecutionProvider"
        assert session.path == model


def test_run_gives_every_output_at_every_batch_size(model: Path) -> None:
    session = Session(model, device="cpu", threads=1)
    for count in (0, 1, 3, 17):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 3, *SIZE), dtype=np.uint8)
        found = session.run(pixels)
        for name, logits in expected_logits(pixels).items():
            assert found[f"{name}_logits"].shape == logits.shape
            assert found[f"{name}_logits"].dtype == np.float32
            np.testing.assert_allclose(found[f"{name}_logits"], logits, atol=1e-4)
            np.testing.assert_allclose(found[f"{name}_probabilities"].sum(axis=1), 1, atol=1e-6)


def test_pixels_of_another_shape_or_type_are_refused(model: Path) -> None:
    session = Session(model, device="cpu")
    for pixels in (np.zeros((1, *SIZE, 3), np.uint8), np.zeros((1, 3, *SIZE), np.float32)):
        with pytest.raises(UsageError, match=r"\(N, 3, 24, 32\)"):
            session.run(pixels)


def test_sources_of_every_kind_get_the_same_answer(model: Path, tmp_path: Path) -> None:
    image = Image.fromarray(np.random.default_rng(5).integers(0, 256, (50, 70, 3), dtype=np.uint8))
    path = tmp_path / "a.png"
    image.save(path)
    sources = [path, str(path), path.read_bytes(), image, np.asarray(image)]
    answers = Session(model, device="cpu").predict(sources)
    assert [answer.pop("path", None) for answer in answers] == [str(path)] * 2 + [None] * 3
    assert all(answer == answers[0] for answer in answers)
    pixels = images.pixels(path, Preprocessing(size=SIZE)).transpose(2, 0, 1)[None]
    for task in TASKS:
        logits = expected_logits(pixels)[task.name][0]
        softmax = np.exp(logits) / np.exp(logits).sum()
        answer = answers[0]["tasks"][task.name]
        assert answer["class"] == task.classes[int(softmax.argmax())]
        assert answer["probability"] == max(answer["probabilities"].values())
        assert list(answer["probabilities"]) == list(task.classes)
        for value in answer["probabilities"].values():
            assert str(value) == str(np.float32(value))  # no digits that the model did not give
        np.testing.assert_allclose(list(answer["probabilities"].values()), softmax, atol=1e-6)


def test_a_refused_image_disturbs_no_neighbour(model: Path) -> None:
    random = np.random.default_rng(7)
    good = [random.integers(0, 256, (30, 40, 3), dtype=np.uint8) for _ in range(9)]
    session = Session(model, device="cpu")
    alone = session.predict(good, batch_size=1)
    mixed: list[images.Source] = list(good)
    for place in (0, 3, 4, 11):
        mixed.insert(place, b"no image")
    answers = session.predict(mixed, batch_size=4)
    assert [i for i, answer in enumerate(answers) if "error" in answer] == [0, 3, 4, 11]
    kept = [answer for answer in answers if "error" not in answer]
    for answer, lone in zip(kept, alone, strict=True):
        for task in TASKS:
            assert answer["tasks"][task.name]["class"] == lone["tasks"][task.name]["class"]
            np.testing.assert_allclose(
                answer["tasks"][task.name]["probability"],
                lone["tasks"][task.name]["probability"],
                atol=1e-6,
            )
    assert "no image" in answers[0]["error"]
    assert all("error" in answer for answer in session.predict([b"", b"x"], batch_size=1))
    assert session.predict([]) == []


@pytest.mark.parametrize(("fixed", "sizes"), [(None, [8, 8, 4]), (20, [20])])
def test_a_processor_is_asked_about_eight_images_at_once(
    model: Path, fixed: int | None, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(model, device="cpu", fixed_batch=fixed)
    asked, run = [], session.run

    def watched(pixels: images.Pixels, **options: Any) -> dict[str, Any]:
        asked.append(len(pixels))
        return run(pixels, **options)

    monkeypatch.setattr(session, "run", watched)
    sources = [np.full((20, 20, 3), number, np.uint8) for number in range(20)]
    answers = session.predict(sources, batch_size=20)
    assert asked == sizes
    assert answers == session.predict(sources, batch_size=8)


def test_however_many_images_only_a_window_of_them_is_in_memory(model: Path) -> None:
    taken = 0

    def endless() -> Iterator[images.Source]:
        nonlocal taken
        for number in itertools.count():
            taken += 1
            yield b"" if number % 5 == 0 else np.full((20, 20, 3), number % 256, np.uint8)

    most = 0
    answers = Session(model, device="cpu").answers(endless(), batch_size=4)
    for answered, _ in enumerate(itertools.islice(answers, 200)):
        most = max(most, taken - answered)  # the answer at hand is not yet given back
    assert most <= batches.WINDOW * 4
    assert taken <= 200 + batches.WINDOW * 4


def test_answers_come_before_the_sources_end(model: Path) -> None:
    def stream() -> Iterator[images.Source]:
        for _ in range(batches.WINDOW * 2):
            yield np.zeros((20, 20, 3), np.uint8)
        raise AssertionError("the first answer had to come by now")

    assert "tasks" in next(Session(model, device="cpu").answers(stream(), batch_size=2))


def test_an_answer_that_is_no_number_is_no_answer(tmp_path: Path) -> None:
    broken = write_model(tmp_path / "model.onnx", scale=float("nan"))
    (answer,) = Session(broken, device="cpu").predict([np.ones((20, 20, 3), np.uint8)])
    assert "not a number" in answer["error"]


@pytest.mark.parametrize("arguments", [{"batch_size": 0}, {"workers": 0}])
def test_numbers_that_make_no_sense_are_wrong_usage(model: Path, arguments: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        Session(model, device="cpu").predict([], **arguments)
    with pytest.raises(UsageError):
        Session(model, device="cpu", threads=0)


def test_what_does_not_exist_is_not_taken_for_something_else(model: Path) -> None:
    strange: Any = "gpu"
    with pytest.raises(UsageError, match="no device 'gpu'; name auto, cpu, cuda, tensorrt"):
        Session(model, device=strange)
    with pytest.raises(UsageError, match="no engine 'gpu'"):
        Session(model, engine=strange)
    with pytest.raises(UsageError, match="no cells 'gpu'"):
        Session(model, device="cpu").predict([], cells=strange)


def test_a_missing_model_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not there"):
        Session(tmp_path / "no.onnx")
    with pytest.raises(UsageError, match=r"model\.onnx is not there"):
        Session(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no model at all\n" * 9])
def test_what_is_no_onnx_is_told_in_a_sentence(
    content: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(WbczooError, match="no ONNX model") as told:
        Session(path, device="cpu")
    assert "ONNXRuntimeError" not in str(told.value)
    assert told.value.exit_code == 1
    assert capfd.readouterr() == ("", "")


TASK = '[{"name": "cell", "classes": ["a", "b"]}]'


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("format", None, r"without the metadata wbczoo\.format"),
        ("format", "2", r"format 2, written by wbczoo 0\.1\.0.*reads format 1"),
        ("weights_sha256", None, r"wbczoo\.weights_sha256"),
        ("tasks", "[", "damaged"),
        ("tasks", TASK.replace("cell", "No Name"), "damaged"),
        ("tasks", TASK, "not the one that its metadata describe"),
        ("tasks", TASK.replace("cell", "granules"), "not the one that its metadata describe"),
        ("tasks", "[]", "not the one that its metadata describe"),
        ("preprocessing", '{"size": [32, 24]}', "not the one that its metadata describe"),
        ("preprocessing", '{"size": [24, 32], "crop": "nucleus"}', "crop nucleus.*0\\.1\\.0"),
        ("preprocessing", '{"size": [24, 32], "gamma": 2}', "does not know .gamma."),
        ("preprocessing", '{"size": "large"}', "damaged"),
        ("config", '{"format": 7}', r"wbczoo\.config"),
    ],
)
def test_an_export_that_this_version_cannot_read_is_refused(
    changed_model: Changed, key: str, value: str | None, reason: str
) -> None:
    with pytest.raises(WbczooError, match=reason) as told:
        Session(changed_model({f"wbczoo.{key}": value}), device="cpu")
    assert told.value.exit_code == 1


def test_predicting_imports_no_torch(model: Path) -> None:
    program = (
        "import json, sys\n"
        "import numpy as np\n"
        "from wbczoo.runtime import Session, find_images, predict_paths, verify, write_csv\n"
        "session = Session(sys.argv[1])\n"
        "answers = session.predict([np.zeros((20, 20, 3), np.uint8)])\n"
        "heavy = {'torch', 'torchvision', 'timm', 'onnx', 'sklearn', 'matplotlib'}\n"
        "print(json.dumps([answers, sorted(heavy & set(sys.modules))]))\n"
    )
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(model)],
        capture_output=True,
        text=True,
        check=True,
    )
    answers, imported = json.loads(found.stdout)
    assert set(answers[0]["tasks"]) == {"cell", "nucleus"}
    assert imported == []
    assert found.stderr == ""


def test_cuda_where_there_is_none_is_refused_with_its_cure(
    model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    reason = devices.explain_cuda()
    if reason is None:
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(WbczooError, match="CUDA was asked for and cannot be had") as told:
        Session(model, device="cuda")
    assert reason in str(told.value)
    assert told.value.exit_code == 1
    session = Session(model, device="auto")
    assert session.provider == "CPUExecutionProvider"
    assert session.why_no_cuda == reason
    assert capfd.readouterr() == ("", "")


def test_a_device_whose_libraries_do_not_load_is_never_exchanged_in_silence(
    model: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As on a machine with a GPU and driver, but without CUDA's libraries."""
    if devices.explain_cuda() is None:
        pytest.skip("this machine has a CUDA device")
    if devices.CUDA not in devices.import_onnxruntime().get_available_providers():
        pytest.skip("this onnxruntime was built without CUDA")
    monkeypatch.setattr(devices, "explain_cuda", lambda: None)
    with pytest.raises(WbczooError, match=r"CUDA was asked for.*could not start CUDA.*pip install"):
        Session(model, device="cuda")
    session = Session(model, device="auto")
    assert session.provider == "CPUExecutionProvider"
    assert session.why_no_cuda is not None
    assert capfd.readouterr() == ("", "")


@pytest.mark.gpu
def test_cuda_answers_as_the_cpu_does(model: Path) -> None:
    if devices.explain_cuda() is not None:
        pytest.skip("this machine has no CUDA device")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, *SIZE), dtype=np.uint8)
    on_cuda = Session(model, device="cuda")
    assert on_cuda.provider == "CUDAExecutionProvider"
    assert on_cuda.why_no_cuda is None
    expected = Session(model, device="cpu").run(pixels)
    for name, found in on_cuda.run(pixels).items():
        np.testing.assert_allclose(found, expected[name], atol=1e-3)
