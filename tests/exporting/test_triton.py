"""A Triton model repository says of the graph what the graph says of itself."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest
from commands import call

from wbczoo.exporting.triton import model_name
from wbczoo.runtime import Session

TYPES = {
    "TYPE_UINT8": onnx.TensorProto.UINT8,
    "TYPE_FP32": onnx.TensorProto.FLOAT,
    "TYPE_BOOL": onnx.TensorProto.BOOL,
}


@pytest.fixture(scope="module")
def repository(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run with the highest opset, beside another model, reading any size."""
    out = tmp_path_factory.mktemp("triton") / "models"
    (out / "stranger" / "1").mkdir(parents=True)
    (out / "stranger" / "config.pbtxt").write_text('backend: "python"\n')
    options = ("--layout", "triton", "--embed-preprocess", "--opset", "23")
    assert call(["export", small_run, "--out", out, *options]) == 0
    return out


def parse(path: Path) -> Any:
    """The config as Triton's own protobuf reads it."""
    service = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    from google.protobuf import text_format

    return text_format.Parse(path.read_text(), service.ModelConfig())


def test_the_config_describes_the_graph(repository: Path) -> None:
    folder = repository / "gru"
    config = parse(folder / "config.pbtxt")
    graph = onnx.load(folder / "1" / "model.onnx").graph
    assert config.backend == "onnxruntime"
    assert config.platform == "onnxruntime_onnx"
    assert config.max_batch_size == 32
    assert list(config.dynamic_batching.preferred_batch_size) == [8, 16, 32]
    assert config.dynamic_batching.max_queue_delay_microseconds > 0
    (group,) = config.instance_group
    assert (group.count, group.Kind.Name(group.kind)) == (1, "KIND_GPU")
    defaults = {each.name for each in graph.initializer}  # of inputs that need not be given
    inputs = [each for each in graph.input if each.name not in defaults]
    for told, values in ((config.input, inputs), (config.output, graph.output)):
        assert [each.name for each in told] == [each.name for each in values]
        for each, value in zip(told, values, strict=True):
            kind = value.type.tensor_type
            assert TYPES[type(config).DESCRIPTOR.file.enum_types_by_name["DataType"]
                         .values_by_number[each.data_type].name] == kind.elem_type  # fmt: skip
            batch, *shape = kind.shape.dim
            assert batch.dim_param  # Triton adds the batch, so it has to be free
            # The novelty is one number; a side that is only said has to be taken away again.
            assert list(each.dims) == ([d.dim_value or -1 for d in shape] or [1])
            assert each.HasField("reshape") == (not shape)
    assert list(config.input[0].dims) == [-1, -1, 3]


def test_labels_stand_in_the_order_of_the_classes(repository: Path) -> None:
    folder = repository / "gru"
    named = {each.name: each.label_filename for each in parse(folder / "config.pbtxt").output}
    for task in Session(folder / "1" / "model.onnx", device="cpu").tasks:
        labels = (folder / named[f"{task.name}_probabilities"]).read_text().splitlines()
        assert tuple(labels) == task.classes


def test_a_repository_has_the_card_and_keeps_its_other_models(
    small_run: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = repository / "gru"
    assert {path.name for path in folder.iterdir()} == {
        "1", "config.pbtxt", "labels_cell.txt", "labels_nucleus.txt",
        "card.json", "card.md", "example.npz",
    }  # fmt: skip
    assert json.loads((folder / "card.json").read_text())["opset"] == 23
    assert sorted(path.name for path in repository.iterdir()) == ["gru", "stranger"]
    assert (repository / "stranger" / "config.pbtxt").read_text() == 'backend: "python"\n'
    capsys.readouterr()
    options = ("--out", repository, "--layout", "triton")
    assert call(["export", small_run, *options]) == 2
    assert "--overwrite" in capsys.readouterr().err
    (folder / "notes.txt").write_text("mine")
    assert call(["export", small_run, *options, "--overwrite"]) == 2
    assert "notes.txt" in capsys.readouterr().err
    (folder / "notes.txt").unlink()


def test_a_model_is_opened_and_verified_as_it_lies_there(
    repository: Path, smears: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(repository / "gru", tmp_path / "models" / "renamed"))
    graph = folder / "1" / "model.onnx"
    images = sorted((smears / "test").rglob("*.jpg"))[:2]
    answered = []
    for given in (folder, graph):
        capsys.readouterr()
        assert call(["verify", given, "--device", "cpu", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["model"], found["images"]) == (str(graph), 8)
        assert found["checked_files"] == ["model.onnx", "example.npz"]
        assert call(["predict", *images, "--model", given, "--device", "cpu"]) == 0
        answered.append(capsys.readouterr().out)
    assert answered[0] == answered[1]
    assert answered[0].count("tasks") == 2
    outside = tmp_path / "1"
    graph.parent.rename(outside)
    graph.parent.symlink_to(outside)
    assert call(["verify", folder, "--device", "cpu"]) == 1
    assert "leads out of its folder" in capsys.readouterr().err
    graph.parent.unlink()
    outside.rename(graph.parent)
    graph.write_bytes(graph.read_bytes() + b"\x70\0")  # a field of its own; the graph is the same
    assert call(["verify", folder, "--device", "cpu", "--json"]) == 3
    assert f"{graph} is not the file" in json.loads(capsys.readouterr().out)["problems"][0]
    assert call(["predict", *images, "--model", folder, "--device", "cpu"]) == 1
    assert "damaged or exchanged" in capsys.readouterr().err


def test_the_graph_of_the_highest_opset_answers_photographs(
    repository: Path, smears: Path, small_export: Path
) -> None:
    session = Session(repository / "gru" / "1" / "model.onnx", device="cpu")
    sources = sorted((smears / "test").rglob("*.png"))[:5] or sorted(smears.rglob("*.jp*g"))[:5]
    assert len(sources) == 5
    found, expected = session.predict(sources), Session(small_export, device="cpu").predict(sources)
    for one, other in zip(found, expected, strict=True):
        for task, answer in other["tasks"].items():
            for name, probability in answer["probabilities"].items():
                assert one["tasks"][task]["probabilities"][name] == pytest.approx(
                    probability, abs=5e-3
                )


@pytest.mark.parametrize(
    ("name", "expected"),
    [("mobilenetv2+bilstm", "mobilenetv2_bilstm"), ("timm/resnet50+none", "timm_resnet50_none"),
     ("../..", "model")],
)  # fmt: skip
def test_a_model_s_name_is_one_that_triton_takes(name: str, expected: str) -> None:
    assert model_name(name) == expected
    assert re.fullmatch(r"[A-Za-z0-9_-]+", model_name(name))
