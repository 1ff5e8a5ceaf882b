"""A data set that goes into the form of another program is read by that program, and by wbczoo."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import Completed

from wbczoo import registry
from wbczoo.data.layouts import LAYOUTS, TABLE
from wbczoo.data.samples import Rows, read_rows

Run = Callable[..., Completed]

# What these libraries say of their own use of others is no fault of what they are given.
others = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from wbczoo_datasets.synthetic import SYNTHETIC

    root = tmp_path_factory.mktemp("fields") / "fields"
    assert SYNTHETIC.prepare is not None
    SYNTHETIC.prepare(root, photographs=8, views=1, cells_per_field="0..3")
    return root


def known(rows: Rows) -> Counter[tuple[Any, ...]]:
    """What is known of the files, whatever they are called."""
    return Counter(
        (rows.hashes[n], s.label, s.photograph, s.split, rows.laboratories[n], rows.groups[n])
        for n, s in enumerate(rows.samples)
    )


@pytest.fixture(scope="module")
def rows(smears: Path) -> Rows:
    return read_rows(registry.datasets.spec("synthetic"), smears)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_wbczoo_reads_again_all_that_was_known(
    layout: str, smears: Path, rows: Rows, tmp_path: Path, wbczoo: Run
) -> None:
    out = tmp_path / "out"
    done = wbczoo("data", "export", smears, "--dataset", "synthetic", "--format", layout, "--out",
                  out, "--json")  # fmt: skip
    assert json.loads(done.stdout)["files"] == len(rows) == 72
    for shard in out.glob("*.tar"):
        with tarfile.open(shard) as opened:
            opened.extractall(out, filter="data")
    table = {"labels_from": str(out / TABLE)}
    again = read_rows(registry.datasets.spec("folder"), out, table)
    assert again.unit == "photograph"
    assert known(again) == known(rows)


@others
def test_datasets_reads_the_image_folders(
    smears: Path, rows: Rows, tmp_path: Path, wbczoo: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    out = tmp_path / "out"
    wbczoo("data", "export", smears, "--dataset", "synthetic", "--format", "hf", "--out", out)
    found = datasets.load_dataset("imagefolder", data_dir=str(out), cache_dir=str(tmp_path / "c"))
    splits = Counter(sample.split for sample in rows.samples)
    assert {name: len(each) for name, each in found.items()} == splits
    first = found["test"][0]
    assert first["image"].size == (320, 240)
    assert {"label", "photograph", "group", "laboratory"} <= first.keys()
    known = zip(found["test"]["label"], found["test"]["photograph"], strict=True)
    assert Counter(known) == Counter(
        (sample.label, sample.photograph) for sample in rows.samples if sample.split == "test"
    )


@others
@pytest.mark.nightly  # the library imports PyTorch; that wbczoo reads the shards is quick
def test_webdataset_reads_the_shards(smears: Path, rows: Rows, tmp_path: Path, wbczoo: Run) -> None:
    webdataset = pytest.importorskip("webdataset")
    for name in ("a", "b"):
        wbczoo("data", "export", smears, "--dataset", "synthetic", "--format", "webdataset",
               "--out", tmp_path / name)  # fmt: skip
    shards = sorted((tmp_path / "a").glob("*.tar"))
    assert [shard.name for shard in shards] == ["test-000000.tar", "train-000000.tar"]
    for shard in shards:  # equal data give equal bytes
        assert shard.read_bytes() == (tmp_path / "b" / shard.name).read_bytes()
    reader = webdataset.WebDataset([str(shard) for shard in shards], shardshuffle=False)
    of = dict(zip(rows.hashes, rows.samples, strict=True))
    seen = 0
    for sample in reader:
        document = json.loads(sample["json"])
        digest = hashlib.sha256(sample["jpg"]).hexdigest()
        assert digest == document["sha256"]
        assert document["label"] == of[digest].label
        assert document["photograph"] == of[digest].photograph
        seen += 1
    assert seen == len(rows)


def test_pycocotools_reads_the_boxes_of_the_data(fields: Path, tmp_path: Path, wbczoo: Run) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    out = tmp_path / "out"
    done = wbczoo("data", "export", fields, "--dataset", "synthetic", "--format", "coco", "--out",
                  out, "--json")  # fmt: skip
    rows = read_rows(registry.datasets.spec("synthetic"), fields)
    boxes = [box for sample in rows.samples for box in sample.boxes or ()]
    document = json.loads(done.stdout)
    assert (document["boxes"], document["found"]) == (len(boxes), 0)
    opened = coco.COCO(str(out / "annotations.json"))
    assert len(opened.getImgIds()) == len(rows)
    for picture, sample in zip(opened.loadImgs(opened.getImgIds()), rows.samples, strict=True):
        assert (out / "images" / picture["file_name"]).is_file()
        found = opened.loadAnns(opened.getAnnIds(imgIds=picture["id"]))
        sides = [each["bbox"] for each in found]
        assert [(x, y, x + w, y + h) for x, y, w, h in sides] == [*map(tuple, sample.boxes or ())]
        names = {each["name"] for each in opened.loadCats([e["category_id"] for e in found])}
        assert names == ({sample.label} if len(found) == 1 else {"white cell"} if found else set())


def test_cells_are_found_where_the_data_have_no_boxes(
    smears: Path, tmp_path: Path, wbczoo: Run
) -> None:
    data = tmp_path / "data"
    for place, name in (("test/monocyte", "a"), ("test/neutrophil", "b")):
        image = sorted((smears / place).iterdir())[0]
        (data / place).mkdir(parents=True)
        (data / place / f"{name}.jpg").write_bytes(image.read_bytes())
    (data / "test" / "monocyte" / "torn.jpg").write_bytes(b"no image")
    out = tmp_path / "out"
    done = wbczoo("data", "export", data, "--format", "coco", "--out", out, "--json", expect=3)
    document = json.loads(done.stdout)
    assert document["files"] == 2
    assert document["found"] == document["boxes"] >= 1
    assert list(document["refused"]) == ["test/monocyte/torn.jpg"]
    made = json.loads((out / "annotations.json").read_text())
    assert all(0.3 <= each["score"] <= 1 for each in made["annotations"])
    with (out / TABLE).open(newline="") as stream:
        assert [row["photograph"] for row in csv.DictReader(stream)] == ["", ""]


def test_what_is_there_is_left_alone(smears: Path, tmp_path: Path, wbczoo: Run) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("kept")
    done = wbczoo("data", "export", smears, "--dataset", "synthetic", "--format", "hf", "--out",
                  tmp_path / "out", expect=2)  # fmt: skip
    assert "Name a new folder for the data" in done.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "mine"]


@others
@pytest.mark.parametrize("zipped", [False, True])
def test_mlcroissant_validates_and_reads_the_description(
    zipped: bool, smears: Path, rows: Rows, tmp_path: Path, wbczoo: Run
) -> None:
    mlc = pytest.importorskip("mlcroissant")
    data, out = tmp_path / "data" / "smears", tmp_path / "data" / "croissant.json"
    if zipped:
        data = Path(shutil.make_archive(str(data), "zip", smears))
    else:
        shutil.copytree(smears, data)
    wbczoo("data", "show", data, "--dataset", "synthetic", "--croissant", out)
    described = mlc.Dataset(jsonld=str(out))
    assert not described.metadata.ctx.issues.errors
    assert described.metadata.name == "synthetic"
    records = [*described.records("samples")]
    assert len(records) == len(rows)

    def text(value: object) -> str:
        return value.decode() if isinstance(value, bytes) else str(value)

    found = Counter((text(r["samples/label"]), text(r["samples/photograph"])) for r in records)
    assert found == Counter((s.label, s.photograph) for s in rows.samples)
    files = {text(record["samples/file"]) for record in records}
    prefix = "" if zipped else "smears/"
    assert files == {prefix + sample.path for sample in rows.samples}


def test_a_description_of_files_that_lie_elsewhere_is_refused(
    smears: Path, tmp_path: Path, wbczoo: Run
) -> None:
    pytest.importorskip("mlcroissant")
    done = wbczoo("data", "show", smears, "--dataset", "synthetic", "--croissant",
                  tmp_path / "a.json", expect=2)  # fmt: skip
    assert "would describe files that lie elsewhere" in done.stderr
    assert not [*tmp_path.iterdir()]
