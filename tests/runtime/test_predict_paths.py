"""The images that a command line means, and a row for each of them, in order."""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_export import TASKS

from wbczoo.errors import UsageError
from wbczoo.runtime import Session, find_images, predict_paths


def paint(path: Path, seed: int = 0, size: tuple[int, int] = (20, 20)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with images in `cells`, some within, some hidden, and other files."""
    for name in ("b.png", "a.JPG", "deep/er/c.tif", ".hidden.png", ".git/d.png", "[x].png"):
        paint(tmp_path / "cells" / name)
    (tmp_path / "cells" / "index.txt").write_text("a\n")
    (tmp_path / "cells" / "folder.png").mkdir()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


INSIDE = ["[x].png", "a.JPG", "b.png", "deep/er/c.tif"]


@pytest.mark.parametrize("given", ["cells", "./cells", "cells/", "../{here}/cells", "{tmp}/cells"])
def test_a_folder_gives_its_images_sorted_under_the_name_it_was_given(
    given: str, tree: Path
) -> None:
    given = given.format(here=tree.name, tmp=tree)
    assert find_images([given]) == [f"{given.rstrip('/')}/{name}" for name in INSIDE]


def test_files_are_taken_as_given_in_their_order_whatever_their_suffix(tree: Path) -> None:
    given = ["cells/index.txt", "./cells/b.png", "cells/b.png", "cells/[x].png", "cells/b.png"]
    assert find_images(given) == given
    assert find_images(["cells/b.png", "cells/deep"]) == ["cells/b.png", "cells/deep/er/c.tif"]


def test_patterns_are_expanded_as_a_shell_would(tree: Path) -> None:
    assert find_images(["cells/*.png"])[:2] == ["cells/[x].png", "cells/b.png"]
    assert find_images(["./cells/?.*"]) == ["./cells/a.JPG", "./cells/b.png"]
    assert find_images(["cells/**/*.tif"]) == ["cells/deep/er/c.tif"]
    assert find_images(["cells/d*"]) == ["cells/deep/er/c.tif"]
    everything = find_images(["cells/**"])
    assert sorted(everything) == sorted(f"cells/{name}" for name in [*INSIDE, "index.txt"])


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("cells/no.png", r"cells/no\.png is not there"),
        ("no-folder/", "is not there"),
        ("empty", "folder empty holds no image"),
        ("cells/*.bmp", "matches no image"),
        ("empty/*", "matches no image"),
    ],
)
def test_what_yields_nothing_is_wrong_usage_even_beside_what_does(
    given: str, reason: str, tree: Path
) -> None:
    with pytest.raises(UsageError, match=reason):
        find_images(["cells/b.png", given])


def test_no_path_at_all_is_wrong_usage() -> None:
    with pytest.raises(UsageError):
        find_images([])


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names there are always text")
def test_a_name_that_is_no_text_is_found_and_answered(tmp_path: Path, model: Path) -> None:
    paint(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / os.fsdecode(b"caf\xe9.png"))
    (path,) = find_images([str(tmp_path)])
    assert os.fsencode(path).endswith(b"/caf\xe9.png")
    (row,) = predict_paths(Session(model, device="cpu"), [path])
    assert row["path"] == path
    assert "tasks" in row


def test_rows_keep_the_order_though_the_first_image_takes_longest(
    model: Path, tmp_path: Path
) -> None:
    paint(tmp_path / "00.png", size=(900, 1200))
    for number in range(1, 30):
        paint(tmp_path / f"{number:02}.png", seed=number)
    (tmp_path / "07.png").write_bytes(b"")
    paths = find_images([str(tmp_path)])
    session = Session(model, device="cpu")
    rows = list(predict_paths(session, iter(paths), batch_size=4, workers=4))
    assert [row["path"] for row in rows] == paths
    assert rows[7] == {"path": paths[7], "error": "The file is empty."}
    alone = [session.predict([path])[0] for path in paths]
    for row, lone in zip(rows, alone, strict=True):
        assert ("error" in row) == ("error" in lone)
        for task in TASKS if "tasks" in row else ():
            found, expected = row["tasks"][task.name], lone["tasks"][task.name]
            assert found["class"] == expected["class"]
            assert abs(found["probability"] - expected["probability"]) < 1e-6


def test_real_photographs_are_answered(shared: Path, model: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(shared / "data" / "blood-cells.zip") as archive:
        names = [n for n in archive.namelist() if "TEST_SIMPLE" in n and n.endswith(".jpeg")][:20]
        for name in names:
            archive.extract(name, tmp_path)
    paths = find_images([str(tmp_path / "dataset2-master" / "**" / "*.jpeg")])
    assert len(paths) == 20
    rows = list(predict_paths(Session(model, device="cpu"), paths))
    assert [list(row["tasks"]) for row in rows] == [["cell", "nucleus"]] * 20
    assert len({row["tasks"]["cell"]["probability"] for row in rows}) > 1
