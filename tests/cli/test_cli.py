"""The command line as users meet it: the README's lines, exit codes, and bad input."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import SMALL, SMALL_TRAINING, Completed
from PIL import Image

from wbczoo.cli import VERBS
from wbczoo.runtime.published import published

Run = Callable[..., Completed]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(wbczoo: Run, verb: str) -> None:
    text = wbczoo(verb, "--help").stdout
    assert f"wbczoo {verb}" in text.partition("Example:")[2]


def test_help_shows_the_defaults(wbczoo: Run) -> None:
    text = " ".join(wbczoo("train", "--help").stdout.split())
    for default in ("none", "head", "official", "folder", "cell and nucleus", "imagenet"):
        assert f"[default: {default}]" in text
    for verb in ("predict", "differential"):
        text = " ".join(wbczoo(verb, "--help").stdout.split())
        assert f"[default: {published().names[0]}]" in text


def test_list_json_has_the_promised_fields(wbczoo: Run) -> None:
    document = json.loads(wbczoo("list", "--json").stdout)
    for kind in ("backbones", "sequences", "datasets"):
        for row in document[kind]:
            assert set(row) >= {"name", "kind", "distribution", "version", "status", "reason"}
            assert row["status"] == "ok"
    first = document["models"][0]
    assert first["tasks"]["cell"] == ["eosinophil", "lymphocyte", "monocyte", "neutrophil"]
    assert first["headline"]["low"] < first["headline"]["value"]
    families = [row["name"] for row in document["backbones"] if row["kind"] == "family"]
    assert "timm/*" in families


def test_build_json_is_the_report_s_composition(wbczoo: Run) -> None:
    command = ("build", "--backbone", "mobilenetv2", "--seq", "bilstm", "--json")
    document = json.loads(wbczoo(*command).stdout)
    assert document["name"] == "mobilenetv2+bilstm"
    assert document["features"] == {"backbone": 1280, "sequence": 16384, "fused": 17664}
    assert document["tasks"]["cell"] == ["eosinophil", "lymphocyte", "monocyte", "neutrophil"]
    assert document["tasks"]["nucleus"] == ["mononuclear", "polynuclear"]
    assert 0 < document["trainable_parameters"] < document["parameters"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("build",), "Neither a backbone nor a sequence branch"),
        (("build", "--seq", "bilstm_features"), "feature map"),
        (("build", "--backbone", "mobilnetv2"), "Nearest: mobilenetv2"),
        (("build", "--backbone", "timm/resnet19"), "Nearest"),
        (("build", "--seq", "gru", "--no-such-option"), "No such option"),
        (("build", "--seq", "gru", "--task", "cell9"), "There is no task 'cell9'"),
        (("build", "--seq", "gru", "--hidden", "0"), "hidden"),
        (("train", "a", "b.zip", "--out", "r"), "--data folder@a=a --data folder@b=b.zip"),
        (("data", "show", "a", "b"), "Ask of each by itself: wbczoo data show a."),
        (("train", "a", "--data", "pbc=b", "--out", "r"), "Name it too: --data folder=a"),
        (("build", "--backbone", "resnet18", "--weights", "gone.safetensors"), "no weights file"),
        (("train", "gone", "--seq", "gru", "--out", "run"), "gone"),
        (("evaluate", "gone", "gone"), "gone"),
        (("export", "gone", "--out", "x"), "gone"),
        (("predict", "gone.jpg", "--model", "gone"), "gone"),
        (("predict", "gone.jpg", "--unknown-above", "nan"), "not a finite number"),
        (("differential", "gone.jpg", "--min-probability", "nan"), "not a finite number"),
        (("serve", "--timeout", "inf"), "not a finite number"),
        (("nonsense",), "No such command"),
    ],
)
def test_wrong_usage_exits_2_with_a_sentence(
    wbczoo: Run, tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    done = wbczoo(*arguments, expect=2, cwd=tmp_path)
    assert told in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback_that_others_never_see(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "wbczoo", "build", "--backbone", "nothing", "--debug"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_nothing_is_read_or_made_for_what_can_be_refused_at_once(
    wbczoo: Run, small_run: Path, smears: Path, tmp_path: Path
) -> None:
    command = ("train", smears, "--dataset", "synthetic", *SMALL_TRAINING)
    taken = wbczoo(*command, "--out", small_run, expect=2)
    assert "reading" not in taken.stderr
    wbczoo(*command, "--fold", "1", "--out", tmp_path / "run", expect=2)
    assert not (tmp_path / "run").exists()


def test_data_show_tells_the_split_and_its_fold(wbczoo: Run, smears: Path) -> None:
    command = ("data", "show", smears, "--dataset", "synthetic", "--protocol", "grouped", "--debug")
    assert "protocol grouped, fold 0" in wbczoo(*command).stdout
    document = json.loads(wbczoo(*command, "--fold", "2", "--json").stdout)
    assert document["split"]["fold"] == 2
    assert document["photographs"] == 24
    shown = json.loads(wbczoo(*command[:-1], "--json", "--folds", "3").stdout)
    assert [fold["test"]["photographs"] for fold in shown["folds"]] == [8, 8, 8]
    assert sum(sum(fold["tested"]["cell"].values()) for fold in shown["folds"]) == 72
    assert "tested files, nucleus" in wbczoo(*command[:5], "--folds").stdout
    wrong = wbczoo(*command[:5], "--protocol", "official", "--folds", expect=2)
    assert "--protocol grouped" in wrong.stderr


@pytest.mark.parametrize(
    ("column", "further", "told"),
    [
        ("slide", "", "12 files of 4 slides in 4 groups (unit: slide)"),
        ("patient", "photograph", "12 files of 4 patients, 8 photographs, in 4 groups"),
    ],
)
def test_data_show_counts_what_the_unit_is(
    column: str, further: str, told: str, wbczoo: Run, tmp_path: Path
) -> None:
    lines = [f"file;label;{column};{further}".rstrip(";")]
    for number in range(12):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.new("RGB", (40, 40), (number, 0, 0)).save(tmp_path / "images" / f"{number}.png")
        photograph = f";p{number // 3}-{number % 2}" if further else ""
        lines.append(f"{number}.png;{'AB'[number % 2]};{number // 3}{photograph}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    command = ("data", "show", tmp_path / "images", "--labels", tmp_path / "labels.csv",
               "--task", "own")  # fmt: skip
    shown = wbczoo(*command, "--protocol", "report").stdout
    assert told in shown
    assert shown.count(f"{column}s    files") == 2
    assert f"test files are of {column}s that training sees too" in shown
    assert f"protocol grouped: {column}s / files of each fold" in (
        text := wbczoo(*command, "--folds", "2").stdout
    )
    assert "2 / 6" in text
    document = json.loads(wbczoo(*command, "--json").stdout)
    assert [row["groups"] for row in document["labels"]] == [4, 4]


def test_predict_answers_the_good_and_names_the_bad(
    wbczoo: Run, small_export: Path, smears: Path, tmp_path: Path
) -> None:
    good = sorted((smears / "test").rglob("*.jpg"))[:2]
    folder = tmp_path / "mixed"
    folder.mkdir()
    shutil.copy(good[0], folder / "a.jpg")
    (folder / "b.jpg").write_bytes(good[0].read_bytes()[:900])
    (folder / "c.png").write_bytes(b"")
    Image.new("RGB", (1, 1)).save(folder / "d.png")
    shutil.copy(good[1], folder / "e.jpg")
    done = wbczoo("predict", "mixed", "--model", small_export, expect=3, cwd=tmp_path)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    names = ("a.jpg", "b.jpg", "c.png", "d.png", "e.jpg")
    assert [row["path"] for row in rows] == [f"mixed/{name}" for name in names]
    assert ["error" in row for row in rows] == [False, True, True, True, False]
    alone = wbczoo("predict", folder / "e.jpg", "--model", small_export / "model.onnx")
    again = json.loads(alone.stdout)
    assert again["tasks"]["cell"]["class"] == rows[4]["tasks"]["cell"]["class"]
    assert again["tasks"]["cell"]["probability"] == pytest.approx(
        rows[4]["tasks"]["cell"]["probability"], abs=1e-5
    )
    assert sum(again["tasks"]["cell"]["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    table = wbczoo("predict", "mixed", "--model", small_export, "--format", "csv", expect=3,
                   cwd=tmp_path).stdout  # fmt: skip
    columns, *lines = csv.reader(io.StringIO(table))
    assert columns[:5] == ["path", "error", "novelty", "flags", "cell"]
    assert len(lines) == 5
    every = wbczoo("predict", folder / "b.jpg", folder / "c.png", "--model", small_export, expect=1)
    assert len(every.stdout.splitlines()) == 2


def test_verify_replays_and_finds_a_changed_file(
    wbczoo: Run, small_export: Path, tmp_path: Path
) -> None:
    assert json.loads(wbczoo("verify", small_export, "--json").stdout)["ok"] is True
    copy = tmp_path / "copy"
    shutil.copytree(small_export, copy)
    card = json.loads((copy / "card.json").read_text())
    card["files"]["model.onnx"] = "0" * 64
    (copy / "card.json").write_text(json.dumps(card))
    assert "model.onnx" in wbczoo("verify", copy, expect=3).stdout


def test_an_export_of_another_version_is_refused(
    wbczoo: Run, small_export: Path, smears: Path, tmp_path: Path
) -> None:
    import onnx

    proto = onnx.load(small_export / "model.onnx")
    for entry in proto.metadata_props:
        if entry.key == "wbczoo.format":
            entry.value = "2"
    onnx.save(proto, tmp_path / "model.onnx")
    done = wbczoo("predict", smears, "--model", tmp_path, expect=1)
    assert "format" in done.stderr
    assert done.stdout == ""


@pytest.mark.skipif(bool(os.environ.get("CUDA_VISIBLE_DEVICES")), reason="there may be a GPU")
def test_cuda_that_is_not_there_is_said(
    wbczoo: Run, small_export: Path, smears: Path, tmp_path: Path
) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert "CUDA" in wbczoo("predict", smears, "--model", small_export, "--device", "cuda",
                            expect=1).stderr  # fmt: skip
    train = ("train", smears, "--dataset", "synthetic", *SMALL_TRAINING, "--device", "cuda")
    assert "CUDA" in wbczoo(*train, "--out", tmp_path / "run", expect=1).stderr


def test_an_export_is_never_overwritten_unasked(
    wbczoo: Run, small_run: Path, small_export: Path, tmp_path: Path
) -> None:
    before = (small_export / "card.json").read_bytes()
    assert "--overwrite" in wbczoo("export", small_run, "--out", small_export, expect=2).stderr
    assert (small_export / "card.json").read_bytes() == before
    (tmp_path / "letter.txt").write_text("mine")
    wbczoo("export", small_run, "--out", tmp_path, "--overwrite", expect=2)
    assert (tmp_path / "letter.txt").read_text() == "mine"


def test_a_training_that_has_not_ended_is_not_exported(
    wbczoo: Run, small_run: Path, tmp_path: Path
) -> None:
    stopped = tmp_path / "run"
    shutil.copytree(small_run, stopped)
    (stopped / "summary.json").unlink()  # the last thing that a training writes
    told = wbczoo("export", stopped, "--out", tmp_path / "export", expect=2).stderr
    assert "has not ended" in told
    assert "--resume" in told
    assert not (tmp_path / "export").exists()


def test_an_overwrite_takes_an_export_s_place_and_nothing_else(
    wbczoo: Run, small_run: Path, small_export: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(small_export, mine)
    (mine / "model.onnx").write_bytes(b"old")
    wbczoo("export", small_run, "--out", ".", "--overwrite", cwd=mine)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]
    assert (mine / "model.onnx").stat().st_size > 1000
    (mine / "notes.txt").write_text("mine")
    told = wbczoo("export", small_run, "--out", mine, "--overwrite", expect=2).stderr
    assert "notes.txt" in told
    assert (mine / "notes.txt").read_text() == "mine"
    assert (mine / "model.onnx").is_file()


def test_a_pipe_in_a_data_set_is_refused_and_does_not_hang(
    wbczoo: Run, smears: Path, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    shutil.copytree(smears, root)
    (folder,) = [f for f in (root / "train").iterdir() if f.name.lower() == "monocyte"]
    os.mkfifo(folder / "endless.jpg")
    done = wbczoo("data", "show", root, expect=3)
    assert "no ordinary file" in done.stderr
    assert "no" in wbczoo("data", "show", "/dev/zero", expect=2).stderr


def test_closed_streams_are_no_fault(small_export: Path, smears: Path) -> None:
    for command in (["list"], ["predict", str(smears), "--model", str(small_export)]):
        closed = ["bash", "-c", 'exec "$@" >&-', "-", sys.executable, "-m", "wbczoo", *command]
        done = subprocess.run(closed, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_bad_data_folders_get_sentences(wbczoo: Run, smears: Path, tmp_path: Path) -> None:
    picture = next((smears / "test").rglob("*.jpg"))

    def train(root: Path, expect: int, *more: str) -> str:
        out = tmp_path / f"run-{root.name}"
        done = wbczoo("train", root, *SMALL_TRAINING, *more, "--out", out, expect=expect)
        assert not (out / "model.safetensors").exists()
        return done.stderr

    empty = tmp_path / "empty"
    empty.mkdir()
    assert "empty" in train(empty, 2)
    one = tmp_path / "one"
    (one / "neutrophil").mkdir(parents=True)
    shutil.copy(picture, one / "neutrophil")
    assert "one class" in train(one, 2) or "two" in train(one, 2)
    strange = tmp_path / "strange"
    for half in ("train", "test"):
        for name in ("cat", "dog"):
            (strange / half / name).mkdir(parents=True)
            shutil.copy(picture, strange / half / name)
    told = train(strange, 2)
    assert "cat" in told
    assert "Add --task own" in told
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w") as archive:
        archive.write(picture, "../../neutrophil/evil.jpg")
    assert "../../neutrophil/evil.jpg" in train(bomb, 1)
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK\x03\x04 no zip at all")
    assert "broken.zip" in train(broken, 2)


def test_refused_images_are_counted_and_the_rest_trains(
    wbczoo: Run, smears: Path, tmp_path: Path
) -> None:
    root = tmp_path / "smears"
    shutil.copytree(smears, root)
    victim = sorted((root / "train").rglob("*.jpg"))[3]
    victim.write_bytes(victim.read_bytes()[:500])
    done = wbczoo("train", root, "--dataset", "synthetic", *SMALL_TRAINING, "--epochs", "1",
                  "--out", tmp_path / "run", "--json", expect=3)  # fmt: skip
    assert victim.name in done.stderr
    assert json.loads(done.stdout)["data"]["refused_images"] == 1


def test_a_loss_that_is_no_number_stops_with_a_sentence(
    wbczoo: Run, smears: Path, tmp_path: Path
) -> None:
    done = wbczoo("train", smears, "--dataset", "synthetic", *SMALL_TRAINING, "--lr", "1e36",
                  "--precision", "fp32", "--out", tmp_path / "run", expect=1)  # fmt: skip
    assert "loss became" in done.stderr
    assert "--lr" in done.stderr


def test_a_full_disk_is_said_and_leaves_no_half_file(smears: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "wbczoo", "build", *SMALL, "--out", str(out)]
    # A limit on a file's size fails a write as a full disk does, without filling one.
    limited = ["bash", "-c", 'ulimit -f 8; trap "" XFSZ; exec "$@"', "-", *command]
    done = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "disk" in done.stderr
    assert [path.name for path in out.glob("*.safetensors")] == []


def test_tasks_of_ones_own_train_from_class_folders(
    wbczoo: Run, smears: Path, tmp_path: Path
) -> None:
    root = tmp_path / "mine"
    for half in ("train", "test"):
        for name in ("neutrophil", "lymphocyte"):
            source = next(f for f in (smears / half).iterdir() if f.name.lower() == name)
            shutil.copytree(source, root / half / {"neutrophil": "blast"}.get(name, name))
    out = tmp_path / "run"
    wbczoo("train", root, *SMALL_TRAINING, "--epochs", "1", "--task", "blasts=blast,lymphocyte",
           "--each-file-a-photograph", "--out", out)  # fmt: skip
    evaluated = wbczoo("evaluate", out, root, "--each-file-a-photograph", "--json")
    document = json.loads(evaluated.stdout)
    assert document["tasks"]["blasts"]["classes"] == ["blast", "lymphocyte"]
    assert document["photographs"] == document["files"]


def test_data_show_says_what_folders_mean_what_was_passed_over_and_what_contradicts(
    wbczoo: Run, tmp_path: Path
) -> None:
    files = {"0/1.png": b"1", "0/2.JFIF": b"2", "嗜酸/3.png": b"1", "嗜酸/4.heic": b"4"}
    for name, content in files.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    done = wbczoo("data", "show", "in", "--label", "0=neutrophil", "--label", "嗜酸=eosinophil",
                  "--json", cwd=tmp_path)  # fmt: skip
    document = json.loads(done.stdout)
    assert {row["label"]: row["files"] for row in document["labels"]} == {
        "neutrophil": 2,
        "eosinophil": 1,
    }
    assert document["left_out"] == {"cell": {}, "nucleus": {}}
    assert document["passed_over"] == {".heic": 1}
    assert document["contradictions"] == [{"0/1.png": "neutrophil", "嗜酸/3.png": "eosinophil"}]
    assert "equal bytes have different labels: 0/1.png (neutrophil) = " in done.stderr
    told = wbczoo("data", "show", "in", "--dataset", "bccd", "--label", "0=x", cwd=tmp_path,
                  expect=2).stderr  # fmt: skip
    assert "leave out --label" in told
