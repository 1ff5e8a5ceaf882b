"""The set that the plugin `synthetic` draws."""

from __future__ import annotations

import zipfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from dataset_files import classes, make, snapshot
from PIL import Image

from wbczoo.errors import UsageError, WbczooError
from wbczoo.tasks import CELL, NUCLEUS, NUCLEUS_OF
from wbczoo_datasets.folder import FOLDER
from wbczoo_datasets.synthetic import SYNTHETIC


def prepare(root: Path, **settings: int) -> Path:
    assert SYNTHETIC.prepare is not None
    SYNTHETIC.prepare(root, **settings)
    return root


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("synthetic") / "set", photographs=16, views=3, seed=5)


def test_synthetic_is_balanced_and_split_by_photograph(rendered: Path) -> None:
    found = list(SYNTHETIC.samples(rendered))
    assert Counter((s.label, s.split) for s in found) == {
        (label, split): 3 * photographs
        for label in CELL.classes
        for split, photographs in (("train", 3), ("test", 1))
    }
    split_of = defaultdict(set)
    for s in found:
        assert s.path.startswith(f"{s.split}/{s.label}/photograph{s.photograph}_")
        assert (s.part, s.group) == ("augmented", s.photograph)
        split_of[s.photograph].add(s.split)
    assert len(split_of) == 16
    assert all(len(splits) == 1 for splits in split_of.values())
    assert classes(SYNTHETIC, found, NUCLEUS) == {"mononuclear": 24, "polynuclear": 24}
    assert set(CELL.classes) == set(NUCLEUS_OF)


def test_synthetic_defaults_hold_forty_photographs_three_quarters_of_them_train(
    tmp_path: Path,
) -> None:
    found = list(SYNTHETIC.samples(prepare(tmp_path / "set", views=1)))
    assert Counter(s.split for s in found) == {"train": 28, "test": 12}


def test_synthetic_images_show_a_dark_nucleus_in_the_box_and_a_pale_field(rendered: Path) -> None:
    for sample in SYNTHETIC.samples(rendered):
        with Image.open(rendered / sample.path) as image:
            assert (image.size, image.mode, image.format) == ((320, 240), "RGB", "JPEG")
            pixels = np.asarray(image, np.int16)
        left, top, right, bottom = sample.box or (0, 0, 0, 0)
        assert 0 <= left < right <= 320
        assert 0 <= top < bottom <= 240
        chromatin = (pixels[..., 2] - pixels[..., 1] > 60) & (pixels[..., 1] < 120)
        inside = np.zeros_like(chromatin)
        inside[top:bottom, left:right] = True
        assert chromatin[inside].mean() > 0.05
        assert chromatin[inside].sum() > 0.7 * chromatin.sum()
        assert np.median(pixels[pixels.max(axis=-1) > 20]) > 150


def test_synthetic_views_of_a_photograph_differ_and_have_black_corners(rendered: Path) -> None:
    found = [s for s in SYNTHETIC.samples(rendered) if s.photograph == "00000"]
    images = []
    for sample in found:
        with Image.open(rendered / sample.path) as image:
            images.append(np.asarray(image, np.int16))
    assert all(np.mean(image.max(axis=-1) < 20) > 0.01 for image in images)
    assert all(np.abs(images[0] - other).mean() > 5 for other in images[1:])


def test_synthetic_set_is_the_same_for_the_same_seed_alone(rendered: Path, tmp_path: Path) -> None:
    again = snapshot(prepare(tmp_path / "again", photographs=16, views=3, seed=5))
    assert again == snapshot(rendered)
    fewer = snapshot(prepare(tmp_path / "fewer", photographs=8, views=3, seed=5))
    del fewer["samples.csv"]
    assert fewer.items() <= again.items()
    other = snapshot(prepare(tmp_path / "other", photographs=8, views=3, seed=6))
    assert all(other[name] != content for name, content in fewer.items())


def test_synthetic_classes_differ_in_granules_and_in_nucleus(rendered: Path) -> None:
    """Red granules tell an eosinophil, a nucleus that fills its cell a lymphocyte."""
    redness, filled = defaultdict(list), defaultdict(list)
    for sample in SYNTHETIC.samples(rendered):
        with Image.open(rendered / sample.path) as image:
            cell = np.asarray(image.crop(sample.box), np.int16)
        red, green, blue = cell[..., 0], cell[..., 1], cell[..., 2]
        redness[sample.label].append(np.mean(red - blue > 25))
        filled[sample.label].append(np.mean((blue - green > 60) & (green < 120)))
    assert np.mean(redness["eosinophil"]) > 2 * np.mean(redness["neutrophil"])
    assert np.mean(filled["lymphocyte"]) > 1.5 * np.mean(filled["neutrophil"])


def test_synthetic_set_can_be_packed_and_read_as_a_users_folder(
    rendered: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "set.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in snapshot(rendered).items():
            archive.writestr(f"set/{name}", content)
    plain = {(s.path, s.label, s.photograph, s.split, s.box) for s in SYNTHETIC.samples(rendered)}
    zipped = {
        (s.path.removeprefix("set/"), s.label, s.photograph, s.split, s.box)
        for s in SYNTHETIC.samples(packed)
    }
    assert zipped == plain
    as_folder = FOLDER.samples(rendered, photograph_from=r"photograph(\d+)_")
    assert {(s.path, s.label, s.photograph, s.split) for s in as_folder} == {s[:4] for s in plain}


def test_synthetic_replaces_its_own_set_and_nothing_else(tmp_path: Path) -> None:
    root = prepare(tmp_path / "set", photographs=8, views=1, seed=0)
    first = snapshot(root)
    next(root.rglob("*.jpg")).unlink()
    assert snapshot(prepare(root, photographs=8, views=1, seed=0)) == first
    (root / "my notes.txt").write_text("keep me")
    before = snapshot(root)
    with pytest.raises(UsageError, match=r"my notes\.txt.*Nothing was changed"):
        prepare(root, photographs=8, views=1, seed=1)
    assert snapshot(root) == before
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_synthetic_refuses_a_folder_or_a_file_that_is_something_else(tmp_path: Path) -> None:
    photographs = make(tmp_path / "holiday", "train/beach.jpg")
    for root in (photographs, photographs / "train" / "beach.jpg"):
        with pytest.raises(UsageError, match="something else"):
            prepare(root, photographs=8, views=1)
    assert snapshot(photographs) == {"train/beach.jpg": b""}
    empty = tmp_path / "empty"
    empty.mkdir()
    assert len(snapshot(prepare(empty, photographs=8, views=1))) == 9


def test_synthetic_leaves_no_trace_where_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WbczooError, match="could not be written") as caught:
        prepare(tmp_path / "file" / "set", photographs=8, views=1)
    assert caught.value.exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("wrong", [{"photographs": 7}, {"views": 0}, {"seed": -1}])
def test_synthetic_refuses_numbers_out_of_range(wrong: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        prepare(tmp_path / "set", **wrong)
    assert not (tmp_path / "set").exists()


def test_synthetic_says_how_to_make_one_and_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"wbczoo data prepare .*nowhere --dataset synthetic"):
        SYNTHETIC.samples(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="no synthetic set"):
        SYNTHETIC.samples(make(tmp_path / "other", "Eosinophils/a1.JPG", "neutrophil/b1.tiff"))
    root = prepare(tmp_path / "set", photographs=8, views=1)
    lost = next(root.rglob("*.jpg"))
    lost.unlink()
    with pytest.raises(WbczooError, match=f"1 files .*{lost.name}"):
        SYNTHETIC.samples(root)
    (root / "samples.csv").write_text("file,label\nx,y\n")
    with pytest.raises(UsageError, match="damaged"):
        SYNTHETIC.samples(root)
