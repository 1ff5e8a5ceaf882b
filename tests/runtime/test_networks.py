"""The ways of computing a model: another engine, a fixed batch, a graph that resizes by itself."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tiny_export import SIZE, TASKS, expected_logits, write_model

from wbczoo import images
from wbczoo.errors import UsageError, WbczooError
from wbczoo.runtime import Session, devices, providers
from wbczoo.runtime.batches import ahead
from wbczoo.runtime.opening import Engine


def _pixels(count: int, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, *SIZE), dtype=np.uint8)


@pytest.mark.parametrize("count", [1, 3, 4, 5, 9])
def test_a_fixed_batch_answers_any_number_of_images(model: Path, count: int) -> None:
    session = Session(model, device="cpu", fixed_batch=4)
    pixels = _pixels(count)
    found = session.run(pixels)
    for name, logits in expected_logits(pixels).items():
        np.testing.assert_allclose(found[f"{name}_logits"], logits, atol=1e-4)
    again = session.run(_pixels(2, seed=1))  # the buffers were written again
    for name, logits in expected_logits(pixels).items():
        np.testing.assert_allclose(found[f"{name}_logits"], logits, atol=1e-4)
        assert not np.array_equal(again[f"{name}_logits"][0], found[f"{name}_logits"][0])


def test_a_fixed_batch_makes_the_batch_known_to_the_graph(model: Path) -> None:
    fixed = providers.open_on_cpu(model, threads=1, batch=4)
    assert fixed.session.get_inputs()[0].shape[0] == 4
    free = providers.open_on_cpu(model, threads=1, batch=None)
    assert free.session.get_inputs()[0].shape[0] == "batch"


def test_the_buffers_of_a_fixed_batch_are_one_callers_at_a_time(model: Path) -> None:
    session = Session(model, device="cpu", threads=1, fixed_batch=3)
    wrong: list[int] = []

    def ask(seed: int) -> None:
        pixels = _pixels(5, seed)
        expected = expected_logits(pixels)
        for _ in range(50):
            found = session.run(pixels)
            if not np.allclose(found["cell_logits"], expected["cell"], atol=1e-4):
                wrong.append(seed)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("engine", ["openvino", "openvino-bf16"])
def test_openvino_gives_the_answers(model: Path, engine: Engine) -> None:
    openvino = pytest.importorskip("openvino")
    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if engine == "openvino-bf16" and "BF16" not in capabilities:
        with pytest.raises(WbczooError, match="does not compute in bf16"):
            Session(model, engine=engine)
        return
    session = Session(model, engine=engine)
    assert session.provider == f"OpenVINO {'bf16' if engine.endswith('bf16') else 'fp32'}"
    assert session.tasks == TASKS
    for count in (1, 3, 17):
        pixels = _pixels(count, seed=count)
        found = session.run(pixels)
        for name, logits in expected_logits(pixels).items():
            # bf16 has 8 bits of mantissa.
            bound = 0.05 * np.abs(logits).max() if engine.endswith("bf16") else 1e-4
            np.testing.assert_allclose(found[f"{name}_logits"], logits, atol=bound)


def test_openvino_reads_what_onnxruntime_reads_and_no_more(tmp_path: Path, model: Path) -> None:
    pytest.importorskip("openvino")
    changed = write_model(tmp_path / "model.onnx", {"wbczoo.format": "2"})
    with pytest.raises(WbczooError, match="format 2"):
        Session(changed, engine="openvino")
    for options in ({"device": "cuda"}, {"fixed_batch": 2}):
        with pytest.raises(UsageError, match="on the CPU and with any batch"):
            Session(model, engine="openvino", **options)  # type: ignore[arg-type]


def test_openvino_refuses_int8_whose_answers_it_may_change(tmp_path: Path) -> None:
    quantised = write_model(tmp_path / "model.onnx", {"wbczoo.precision": "int8"})
    assert Session(quantised).file.precision == "int8"
    with pytest.raises(UsageError, match="Use --engine onnxruntime, or export in fp32"):
        Session(quantised, engine="openvino")


def test_openvino_that_is_not_there_is_named_with_its_cure(model: Path) -> None:
    program = (
        "import sys; sys.modules['openvino'] = None\n"
        "from wbczoo.cli import main\n"
        "sys.exit(main(['predict', sys.argv[1], '--model', sys.argv[2], '--engine', 'openvino']))"
    )
    image = model.parent / "x.png"
    image.write_bytes(b"")
    done = subprocess.run(
        [sys.executable, "-c", program, str(image), str(model)], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "OpenVINO does not load" in done.stderr
    assert "pip install openvino" in done.stderr


def test_a_graph_that_resizes_reads_images_as_they_come(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.onnx", camera=("height", "width"))
    session = Session(path, device="cpu")
    assert session.file.embedded
    assert session.file.size is None
    random = np.random.default_rng(3)
    photographs = [
        random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        for height, width in ((20, 30), (31, 17), (20, 30), (64, 48), (31, 17))
    ]
    answers = session.predict([*photographs[:3], b"no image", *photographs[3:]], batch_size=6)
    assert "error" in answers.pop(3)
    for image, answer in zip(photographs, answers, strict=True):
        logits = expected_logits(image.transpose(2, 0, 1)[None])
        for task in TASKS:
            best = task.classes[int(logits[task.name].argmax())]
            assert answer["tasks"][task.name]["class"] == best
    with pytest.raises(UsageError, match=r"\(N, H, W, 3\)"):
        session.run(_pixels(1))
    with pytest.raises(UsageError, match="any size"):
        Session(path, device="cpu", fixed_batch=2)


def test_a_graph_for_one_camera_refuses_another_cameras_images(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.onnx", camera=(30, 40))
    for session in (Session(path, device="cpu"), Session(path, device="cpu", fixed_batch=2)):
        assert session.file.size == (30, 40)
        good, other = np.full((30, 40, 3), 9, np.uint8), np.full((40, 30, 3), 9, np.uint8)
        answer, refused = session.predict([good, other])
        assert "tasks" in answer
        assert refused["error"] == (
            "The image has 30x40 pixels, and this model was exported for images of 40x30."
        )


@pytest.mark.parametrize("camera", [(30, "width"), ("height", 3)])
def test_a_graph_of_half_a_size_is_not_an_exports(
    tmp_path: Path, camera: tuple[int | str, int | str]
) -> None:
    path = write_model(tmp_path / "model.onnx", camera=camera)
    with pytest.raises(WbczooError, match="not the one that its metadata describe"):
        Session(path, device="cpu")


def test_tensorrt_where_there_is_none_is_refused_with_its_cure(model: Path) -> None:
    reason = devices.explain_tensorrt()
    if reason is None:
        pytest.skip("this machine has TensorRT")
    with pytest.raises(WbczooError, match="TensorRT was asked for and cannot be had") as told:
        Session(model, device="tensorrt")
    assert reason in str(told.value)


@pytest.mark.gpu
def test_a_captured_graph_answers_as_the_cpu_does(model: Path) -> None:
    if devices.explain_cuda() is not None:
        pytest.skip("this machine has no CUDA device")
    fixed = Session(model, device="cuda", fixed_batch=4)
    assert fixed.why_no_graph is None
    for seed in range(3):
        pixels = _pixels(6, seed)
        expected = Session(model, device="cpu").run(pixels)
        for name, found in fixed.run(pixels).items():
            np.testing.assert_allclose(found, expected[name], atol=1e-3)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_batches_side_by_side_are_answered_in_order(model: Path, engine: Engine) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino")
    random = np.random.default_rng(11)
    sources: list[images.Source] = [
        random.integers(0, 256, (30, 40, 3), dtype=np.uint8) for _ in range(41)
    ]
    sources[7] = sources[30] = b"no image"
    alone = Session(model, device="cpu", engine=engine).predict(sources, batch_size=4)
    session = Session(model, device="cpu", engine=engine, parallel=3)
    found = session.predict(sources, batch_size=4)
    assert [place for place, answer in enumerate(found) if "error" in answer] == [7, 30]
    for answer, expected in zip(found, alone, strict=True):
        assert answer.keys() == expected.keys()
        for task, told in answer.get("tasks", {}).items():
            assert told["class"] == expected["tasks"][task]["class"]
            assert told["probability"] == pytest.approx(expected["tasks"][task]["probability"])


def test_of_endless_sources_a_few_batches_are_taken_ahead(model: Path) -> None:
    taken = 0

    def endless() -> Iterator[images.Source]:
        nonlocal taken
        for number in itertools.count():
            taken += 1
            yield np.full((20, 20, 3), number % 256, np.uint8)

    most = 0
    answers = Session(model, device="cpu", parallel=3).answers(endless(), batch_size=4)
    for answered, _ in enumerate(itertools.islice(answers, 200)):
        most = max(most, taken - answered)
    assert most <= (3 + 1) * 4


def test_a_thread_may_end_the_work_that_it_is_part_of() -> None:
    """As the garbage collector does, which comes to any thread, once a reader has gone."""
    coming: list[Iterator[int]] = []
    asked, done = threading.Event(), threading.Event()

    def work(number: int) -> int:
        if number == 1:
            asked.wait()
            coming.pop().close()  # type: ignore[attr-defined]
            done.set()
        return number

    coming.append(ahead(range(9), work, workers=1, window=2))
    assert next(coming[0]) == 0
    asked.set()
    assert done.wait(30)
