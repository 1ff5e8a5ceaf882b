"""A lower precision answers as fp32 does and its card says how near, or it is not written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from commands import call

from wbczoo.exporting.agreement import BOUNDS, compare_answers
from wbczoo.exporting.half import half_graphs
from wbczoo.exporting.quantised import quantised_graphs
from wbczoo.exporting.sources import real_images
from wbczoo.images import Pixels
from wbczoo.runtime import Session, verify
from wbczoo.runtime.layers import LAYERS
from wbczoo.training.checkpoint import load_model


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    """What the network reads of 40 images, each of a colour and with grain."""
    generator = np.random.default_rng(0)
    colours = generator.integers(30, 226, (40, 3, 1, 1))
    return (colours + generator.integers(-30, 30, (40, 3, 64, 64))).astype(np.uint8)


@pytest.fixture(scope="module")
def half_export(
    sure_run: Path, photographs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The small run in fp16, reading photographs of one size."""
    out = tmp_path_factory.mktemp("exports") / "half"
    options = ("--precision", "fp16", "--embed-preprocess", "--camera-size", "96x128")
    assert call(["export", sure_run, "--out", out, *options, "--images", photographs]) == 0
    return out


def test_fp16_keeps_the_contract(half_export: Path, small_export: Path) -> None:
    session, plain = (Session(path, device="cpu") for path in (half_export, small_export))
    assert (session.file.precision, plain.file.precision) == ("fp16", "fp32")
    assert (session.file.embedded, session.file.size) == (True, (96, 128))
    assert session.file.outputs == plain.file.outputs
    proto = onnx.load(half_export / "model.onnx")
    kinds = {o.name: o.type.tensor_type.elem_type for o in proto.graph.output}
    assert kinds.pop("flags") == onnx.TensorProto.BOOL
    assert {*kinds.values()} == {onnx.TensorProto.FLOAT}
    assert verify(half_export, device="cpu").ok


def test_the_card_says_how_near_fp16_is_and_how_fast(half_export: Path, photographs: Path) -> None:
    card = json.loads((half_export / "card.json").read_text())
    agreement = card["agreement"]
    assert card["precision"] == "fp16"
    assert agreement["images"] == 504
    assert agreement["source"] == "given images"  # no path of this machine leaves it
    for task in ("cell", "nucleus"):
        assert agreement["tasks"][task]["equal"] >= 0.999 * 504
        assert 0 < agreement["tasks"][task]["difference"] <= 0.01
    assert agreement["tried"][0]["layers"] == agreement["layers"] == "all layers"
    assert card["embedded"]["camera"] == [96, 128]
    assert card["embedded"]["largest_difference"] <= 1
    assert card["parity"]["difference"] <= card["parity"]["bound"]
    speed = card["speed"]
    assert speed["images_per_second"] > 0 < speed["latency_ms"]
    assert speed["images"] == [96, 128, 3]
    assert speed["onnxruntime"] == onnxruntime.__version__
    text = (half_export / "card.md").read_text()
    for told in ("| cell | ", "all layers", "images/s", speed["processor"], "(batch, 96, 128, 3)"):
        assert told in text


def test_fp16_is_half_as_large_and_nearer_the_more_stays_in_fp32(
    network_export: Path, pixels: Pixels, tmp_path: Path
) -> None:
    """Each graph that is offered has less in fp16 than the one before, and runs on the CPU."""
    reference = Session(network_export, device="cpu").run(pixels)["cell_logits"]
    off, halves = [], []
    for number, (_, proto) in enumerate(half_graphs(onnx.load(network_export / "model.onnx"))):
        path = tmp_path / f"{number}.onnx"
        onnx.save(proto, path)
        off.append(np.abs(Session(path, device="cpu").run(pixels)["cell_logits"] - reference).max())
        halves.append(sum(np.prod(t.dims) for t in proto.graph.initializer if t.data_type == 10))
        assert [node.op_type for node in proto.graph.node].count("LSTM") == 2
        weights = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
        # Normalisation is in fp32, and nothing is there twice.
        assert weights["fp32/model.mean"] == onnx.TensorProto.FLOAT
        floats = [name for name, kind in weights.items() if kind == onnx.TensorProto.FLOAT]
        assert all(name.startswith("fp32/") for name in floats)
    assert len(off) == 3
    sizes = [(tmp_path / "0.onnx").stat().st_size, (network_export / "model.onnx").stat().st_size]
    assert 0.5 < sizes[0] / sizes[1] < 0.6
    assert halves[0] > halves[1] > halves[2]
    assert off[0] > off[2] > 0


def test_each_choice_of_int8_layers_is_another_graph(
    network_export: Path, pixels: Pixels, tmp_path: Path
) -> None:
    found = {}
    graph = network_export / "model.onnx"
    for what, path in quantised_graphs(graph, pixels[:20], tmp_path):
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        answers = session.run(["cell_logits"], {"images": pixels})[0]
        assert np.isfinite(answers).all()
        assert path.stat().st_size < graph.stat().st_size
        found[what] = answers
        layers = Session(path, device="cpu").run(pixels[:2], layers=LAYERS)
        parts = [layers["pooled"], layers["sequence"]]
        assert np.array_equal(np.concatenate(parts, 1), layers["fused"])
    assert len(found) == 8
    assert any("pointwise" in what for what in found)
    plain = Session(network_export, device="cpu").run(pixels)["cell_logits"]
    answers = [plain, *found.values()]
    assert all(
        np.abs(a - b).max() > 0 for at, a in enumerate(answers) for b in answers[:at]
    )  # fmt: skip


def test_int8_is_chosen_on_training_images(
    sure_run: Path, photographs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "int8"
    options = ("--precision", "int8", "--images", photographs)
    assert call(["export", sure_run, "--out", out, *options]) == 0
    agreement = json.loads((out / "card.json").read_text())["agreement"]
    assert Session(out, device="cpu").file.precision == "int8"
    assert agreement["bound"] == {"equal": 0.995, "difference": 0.05}
    assert agreement["images"] == 504
    kept = [trial for trial in agreement["tried"] if trial["layers"] == agreement["layers"]]
    assert len(kept) == len(agreement["tried"]) == 1  # its dense layers are all there is
    assert all(trial["training"]["source"] == "training images" for trial in agreement["tried"])
    assert kept[0]["agreement"]["tasks"] == agreement["tasks"]
    assert verify(out, device="cpu").ok


def test_too_few_real_images_are_refused(
    network: Path, smears: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options, one = ("--out", tmp_path / "out", "--precision"), next(smears.rglob("*.jpg"))
    assert call(["export", network, *options, "fp16"]) == 2
    assert "at least 16 real images" in (told := capsys.readouterr().err)
    assert "--images" in told
    assert call(["export", network, *options, "int8", "--images", one]) == 2
    assert "calibrated on at least 16" in capsys.readouterr().err
    assert call(["export", network, "--out", tmp_path / "out", "--agreement", "0.9"]) == 2
    assert "give --precision" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_few_images_are_allowed_and_their_interval_is_said(
    sure_run: Path, smears: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, quick = tmp_path / "out", ("--precision", "fp16", "--speed", "none")
    assert call(["export", sure_run, "--out", out, *quick, "--images", smears / "test"]) == 0
    card = json.loads((out / "card.json").read_text())
    found = card["agreement"]
    cell = found["tasks"]["cell"]
    assert cell["equal"] == found["images"] < 100
    low = 0.025 ** (1 / found["images"])  # the exact interval of what never went wrong
    assert cell["low"] == pytest.approx(low, abs=1e-4)
    assert f"at least {100 * low:.1f} % of all" in capsys.readouterr().out
    page = (out / "card.md").read_text()
    assert f"| at least {100 * low:.1f} % |" in page
    assert card["speed"] is None
    assert "It was not measured." in page


def test_a_share_of_equal_answers_is_enough_where_somebody_says_so(
    steep_run: Path, photographs: Path, tmp_path: Path
) -> None:
    options = ("--precision", "fp16", "--images", photographs, "--agreement", ".5")
    out = tmp_path / "out"
    assert call(["export", steep_run, "--out", out, *options, "--speed", "short"]) == 0
    card = json.loads((out / "card.json").read_text())
    assert card["agreement"]["bound"] == {"equal": 0.5, "difference": 1.0}
    assert "(bound: 50 % equal answers):" in (page := (out / "card.md").read_text())
    assert (card["speed"]["batch"], "one round" in page) == (1, True)


def test_a_run_without_training_images_is_calibrated_on_given_ones(
    network: Path, photographs: Path
) -> None:
    size = load_model(network)[0].model.preprocessing
    found = real_images(network, size, "int8", photographs)
    assert (len(found.calibration), len(found.judged)) == (96, 378)
    together = np.concatenate([found.calibration, found.judged]).reshape(96 + 378, -1)
    assert len(np.unique(together, axis=0)) == len(together)


def test_past_the_bound_nothing_is_written(
    steep_run: Path, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--precision", "fp16", "--images", photographs)
    assert call(["export", steep_run, "--out", tmp_path / "out", *options]) == 3
    told = capsys.readouterr().err
    assert "99.9 % equal answers" in told
    assert "Nothing was written" in told
    assert "--agreement" in told
    assert not [*tmp_path.iterdir()]


def test_agreement_counts_answers_and_never_takes_nan() -> None:
    reference = {"cell": np.array([[0.9, 0.1], [0.4, 0.6]] * 500, np.float32)}
    near = {"cell": reference["cell"].copy()}
    near["cell"][0] = [0.895, 0.105]
    found = compare_answers(reference, near, "images")
    assert (found.images, found.tasks["cell"].equal) == (1000, 1000)
    assert found.tasks["cell"].difference == pytest.approx(0.005, abs=1e-6)
    assert found.holds(BOUNDS["fp16"])
    near["cell"][:2] = [[0.49, 0.51], [0.4, 0.6]]
    found = compare_answers(reference, near, "images")
    assert found.tasks["cell"].equal == 999
    assert not found.holds(BOUNDS["fp16"])  # .41 away
    near["cell"][:2] = np.nan
    found = compare_answers(reference, near, "images")
    assert not found.holds(BOUNDS["int8"])
    assert found.as_json()["tasks"]["cell"]["difference"] is None
