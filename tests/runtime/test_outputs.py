"""Rows that go to a URL, or into Parquet, are those of a file, and nobody meets half of them."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Completed
from tiny_images import picture

from wbczoo import files
from wbczoo.errors import UsageError, WbczooError
from wbczoo.images import urls
from wbczoo.runtime.output import Output
from wbczoo.runtime.part_file import part_of
from wbczoo.runtime.published import find_published

fsspec = pytest.importorskip("fsspec")
Run = Callable[..., Completed]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pictures and one that is none."""
    folder = tmp_path_factory.mktemp("outputs")
    for number in range(5):
        (folder / f"{number}.png").write_bytes(picture(number))
    (folder / "5.png").write_bytes(b"")
    return folder


@pytest.fixture(params=["memory", "s3"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where URLs may begin: the memory, and a server that speaks S3 on this machine."""
    monkeypatch.setattr(urls, "_PAUSE", 0)
    if request.param == "memory":
        fsspec.filesystem("memory").mkdir("/results")
        yield "memory://results"
        fsspec.filesystem("memory").rm("/results", recursive=True)
        return
    s3fs = pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    system = s3fs.S3FileSystem()
    system.mkdir("results")
    yield "s3://results"
    system.invalidate_cache()
    system.rm("results", recursive=True)
    server.stop()


def stored(place: str) -> dict[str, bytes]:
    """All files behind a URL by their names."""
    system, root = fsspec.core.url_to_fs(place)
    system.invalidate_cache()
    return {name.rpartition("/")[2]: system.cat_file(name) for name in system.find(root)}


def predict(wbczoo: Run, images: Path | str, model: Path, out: object, *more: object,
            expect: int = 3) -> Completed:  # fmt: skip
    return wbczoo("predict", images, "--model", model, "--device", "cpu", "--batch-size", 2,
                  "--out", out, *more, expect=expect)  # fmt: skip


def test_rows_behind_a_url_are_those_of_a_file(
    place: str, images: Path, model: Path, tmp_path: Path, wbczoo: Run
) -> None:
    predict(wbczoo, images, model, tmp_path / "rows.csv", "--format", "csv")
    predict(wbczoo, images, model, f"{place}/rows.csv", "--format", "csv")
    assert stored(place) == {"rows.csv": (tmp_path / "rows.csv").read_bytes()}
    assert not [*Output(f"{place}/rows.csv").path.parent.glob("rows-*")]
    told = predict(wbczoo, images, model, f"{place}/rows.csv", expect=2).stderr
    assert f"{place}/rows.csv is there already" in told
    for verb, more in (("predict", ("--model", model)), ("locate", ())):
        done = wbczoo(verb, images, *more, "--out", f"{place}/rows.csv", "--resume")
        assert f"{place}/rows.csv is whole: nothing is left to resume" in done.stderr
        assert "images/s" not in done.stderr
    assert stored(place) == {"rows.csv": (tmp_path / "rows.csv").read_bytes()}
    predict(wbczoo, images, model, f"{place}/rows.csv", "--overwrite")
    assert json.loads(stored(place)["rows.csv"].splitlines()[0])["path"].endswith("0.png")
    wbczoo("locate", images, "--out", f"{place}/cells.jsonl", expect=3)
    assert len(stored(place)["cells.jsonl"].splitlines()) == 6


def test_features_behind_a_url_are_those_of_a_file(
    place: str, images: Path, tmp_path: Path, wbczoo: Run
) -> None:
    model = find_published("leukocyte-nano")

    def features(out: object, expect: int = 3, *more: object) -> str:
        return wbczoo("features", model, images, "--device", "cpu", "--cells", "whole", "--out",
                      out, *more, expect=expect).stderr  # fmt: skip

    features(tmp_path / "f.npz")
    features(f"{place}/f.npz")
    assert set(stored(place)) == {"f.npz"}
    local = np.load(tmp_path / "f.npz")
    found = np.load(io.BytesIO(stored(place)["f.npz"]))
    for name in local.files:
        np.testing.assert_array_equal(found[name], local[name])
    assert not [*Output(f"{place}/f.npz").path.parent.glob("f-*")]
    assert f"{place}/f.npz is there already" in features(f"{place}/f.npz", 2)
    features(f"{place}/f.npz", 3, "--overwrite")
    assert ".npz or .parquet" in features(f"{place}/f.csv", 2)


def test_images_and_shards_and_what_is_merged_may_all_be_behind_urls(
    place: str, images: Path, model: Path, tmp_path: Path, wbczoo: Run
) -> None:
    system, root = fsspec.core.url_to_fs(place)
    for path in images.iterdir():
        system.pipe(f"{root}/images/{path.name}", path.read_bytes())
    source = f"{place}/images"
    predict(wbczoo, source, model, tmp_path / "whole")
    parts = [f"{place}/{number}.rows" for number in (1, 2)]
    for number, part in enumerate(parts, 1):
        predict(wbczoo, source, model, part, "--shard", f"{number}/2", expect=number % 2 * 3)
    wbczoo("merge", *parts, "--out", f"{place}/merged")
    assert stored(place)["merged"] == (tmp_path / "whole").read_bytes()
    wbczoo("merge", *parts, "--out", f"{place}/merged", expect=2)
    wbczoo("merge", f"{place}/nothing", "--out", tmp_path / "merged", expect=2)


def test_an_upload_that_fails_is_done_again_by_resume_and_leaves_no_half(
    place: str, images: Path, model: Path, wbczoo: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(source: Any, target: Any, _: int) -> None:
        target.write(source.read(99))
        raise ConnectionError("the line is cut")

    url = f"{place}/rows.jsonl"
    with monkeypatch.context() as patch:
        patch.setattr(urls.shutil, "copyfileobj", cut)
        told = predict(wbczoo, images, model, url, expect=1).stderr
        assert "tried 4 times: the line is cut" in told
    assert stored(place) == {}
    assert part_of(Output(url).path).is_file()
    told = predict(wbczoo, images, model, url, "--resume").stderr
    assert "0 images in" in told  # none is computed again
    assert len(stored(place)["rows.jsonl"].splitlines()) == 6


def test_a_place_that_takes_no_whole_file_is_refused(tmp_path: Path) -> None:
    for url in ("https://host/rows.jsonl", "zip://rows.jsonl::file:///tmp/a.zip"):
        with pytest.raises((UsageError, WbczooError), match=r"cannot be (written|read)"):
            Output(url).check(overwrite=False)
    with pytest.raises(UsageError, match="password"):
        Output("s3://me:secret@host/rows").check(overwrite=False)
    Output(f"file://{tmp_path}/new/rows").check(overwrite=False)
    (tmp_path / "made").write_text("whole")
    Output(f"file://{tmp_path}/new/rows").put(tmp_path / "made")
    assert (tmp_path / "new" / "rows").read_text() == "whole"


def test_parquet_holds_what_json_lines_hold(
    images: Path, model: Path, tmp_path: Path, wbczoo: Run
) -> None:
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    predict(wbczoo, images, model, tmp_path / "rows.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    out = tmp_path / "rows.parquet"
    predict(wbczoo, images, model, out, "--format", "parquet")
    table = parquet.read_table(out)
    assert table.schema.metadata[b"wbczoo.model"].decode() == files.sha256_of(model)
    for row, found in zip(rows, table.to_pylist(), strict=True):
        assert (found["path"], found["error"]) == (row["path"], row.get("error"))
        for name, answer in row.get("tasks", {}).items():
            assert found[name] == answer["class"]
            told = {each: float(str(table.schema.field(f"{name}_{each}").type.to_pandas_dtype()(
                found[f"{name}_{each}"]))) for each in answer["probabilities"]}  # fmt: skip
            assert told == answer["probabilities"]
    assert table.to_pylist()[5]["cell"] is None
    assert not part_of(out).exists()
    for number in (1, 2):
        predict(wbczoo, images, model, tmp_path / f"{number}.rows", "--shard", f"{number}/2",
                expect=number % 2 * 3)  # fmt: skip
    parts = [tmp_path / "1.rows", tmp_path / "2.rows"]
    wbczoo("merge", *parts, "--format", "parquet", "--out", tmp_path / "merged.parquet")
    assert (tmp_path / "merged.parquet").read_bytes() == out.read_bytes()


def test_cells_in_parquet_have_boxes_and_flags(tmp_path: Path) -> None:
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    from wbczoo.runtime.parquet import write_parquet
    from wbczoo.tasks import Task

    rows = [
        {"path": os.fsdecode(b"a\xff.png"), "box": [1, 2, 3, 4], "flags": ["unsure", "at-edge"],
         "novelty": 0.5, "tasks": {"cell": {"class": "a", "probability": 0.75,
                                            "probabilities": {"a": 0.75, "b": 0.25}}}},
        {"path": "b.png", "flags": ["no-cell"]},
    ]  # fmt: skip
    (tmp_path / "rows").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_parquet(
        tmp_path / "rows", tmp_path / "rows.parquet", [Task("cell", ("a", "b"))],
        ("left", "top", "right", "bottom", "novelty", "flags"), "sha",
    )  # fmt: skip
    first, second = parquet.read_table(tmp_path / "rows.parquet").to_pylist()
    assert first == {
        "path": "a\\udcff.png", "error": None, "left": 1, "top": 2, "right": 3, "bottom": 4,
        "novelty": 0.5, "flags": ["unsure", "at-edge"], "cell": "a", "cell_probability": 0.75,
        "cell_a": 0.75, "cell_b": 0.25,
    }  # fmt: skip
    assert second["flags"] == ["no-cell"]
    assert {value for name, value in second.items() if name not in ("path", "flags")} == {None}


def test_parquet_to_a_terminal_and_of_a_shard_is_refused(
    images: Path, model: Path, tmp_path: Path, wbczoo: Run
) -> None:
    told = wbczoo("predict", images, "--model", model, "--format", "parquet", expect=2).stderr
    assert "to the file of --out" in told
    asked = ("--format", "parquet", "--shard", "1/2")
    told = predict(wbczoo, images, model, tmp_path / "rows", *asked, expect=2).stderr
    assert "merge --format parquet" in told
