"""The audit finds views of one photograph on two sides of a split by pixels, and nothing else."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import Completed, call
from PIL import Image, ImageOps

from wbczoo import images, registry
from wbczoo.audit import search
from wbczoo.audit.cache import read_keypoints
from wbczoo.audit.keypoints import Keypoints, compare, find_keypoints
from wbczoo.audit.report import check, describe, published_sides
from wbczoo.audit.search import FEWEST_INLIERS, Audit, audit
from wbczoo.data.samples import Rows, read_rows
from wbczoo.errors import WbczooError
from wbczoo.machine import how_to_install
from wbczoo_datasets.synthetic import SYNTHETIC

FOLDER = registry.datasets.spec("folder")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """Views of drawn smears."""
    root = tmp_path_factory.mktemp("drawn") / "smears"
    assert SYNTHETIC.prepare is not None
    SYNTHETIC.prepare(root, photographs=16, views=4, seed=0)
    return read_rows(SYNTHETIC, root)


@pytest.fixture(
    scope="module", params=["drawn", pytest.param("bccd_rows", marks=pytest.mark.archive)]
)
def rows(request: pytest.FixtureRequest) -> Rows:
    """Views of drawn smears, and those of BCCD's archive."""
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


def find_views(rows: Rows) -> dict[str, list[int]]:
    """Photograph -> the rows of its augmented views."""
    found = defaultdict(list)
    for row, sample in enumerate(rows.samples):
        if sample.part == "augmented":
            found[sample.photograph or ""].append(row)
    return found


def choose(rows: Rows) -> dict[str, list[int]]:
    """Eight photographs, four of each published half, and four views of each."""
    views = find_views(rows)
    photographs_of = defaultdict(set)
    for sample in rows.samples:
        photographs_of[sample.group].add(sample.photograph)
    halves: dict[str | None, list[str]] = defaultdict(list)
    for name, chosen in views.items():
        sample = rows.samples[chosen[0]]
        if len(photographs_of[sample.group]) == 1:  # else another may show the same
            halves[sample.split].append(name)
    return {name: views[name][:4] for half in halves.values() for name in half[:4]}


@pytest.fixture(scope="module")
def some(rows: Rows) -> dict[str, list[int]]:
    """Photographs of the data set at hand, and four views of each."""
    return choose(rows)


def split_by_view(some: dict[str, list[int]]) -> dict[int, str]:
    """Two views of each photograph train, one validates and one tests."""
    roles = ("train", "train", "validation", "test")
    return {row: role for rows in some.values() for row, role in zip(rows, roles, strict=True)}


def photographs(rows: Rows, chosen: Iterable[int]) -> set[str]:
    return {rows.samples[row].photograph or "" for row in chosen}


# --- two images ----------------------------------------------------------------------------------


def test_a_mirrored_and_turned_photograph_is_known_again(bccd_rows: Rows) -> None:
    row = next(r for r, s in enumerate(bccd_rows.samples) if s.path.endswith("_00002.jpg"))
    photograph = Image.fromarray(images.decode(bccd_rows.source.read(bccd_rows.samples[row].path)))
    view = ImageOps.mirror(photograph).rotate(17).point(lambda value: min(255, value * 1.1))
    one, other = (find_keypoints(np.array(each)) for each in (photograph, view))
    assert compare(one, other, mirrored=True).inliers > 4 * FEWEST_INLIERS
    assert compare(one, other, mirrored=False).inliers < FEWEST_INLIERS


def test_the_black_fill_of_a_turned_photograph_is_no_keypoint() -> None:
    plain = np.full((240, 320, 3), 200, np.uint8)
    turned = np.array(Image.fromarray(plain).rotate(15, translate=(90, 60)))
    assert (turned == 0).mean() > 0.3
    assert len(find_keypoints(turned)) == 0


# --- a split -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def leaky(rows: Rows, some: dict[str, list[int]]) -> Audit:
    """An audit of views of the same photographs on three sides."""
    return audit(rows, split_by_view(some))


def test_each_leaked_file_is_found_with_its_own_photograph(
    rows: Rows, some: dict[str, list[int]], leaky: Audit
) -> None:
    assert len(some) == 8
    later = sorted(row for chosen in some.values() for row in chosen[2:])
    assert leaky.leaked == later
    assert [pair.one for pair in leaky.pairs] == later
    assert sorted(map(sorted, some.values())) == sorted(leaky.groups)
    for pair in (*leaky.pairs, *leaky.links):
        assert len(photographs(rows, (pair.one, pair.other))) == 1
        assert pair.match.inliers >= FEWEST_INLIERS


def test_a_split_by_photograph_has_no_leak(rows: Rows, some: dict[str, list[int]]) -> None:
    sides = {row: rows.samples[row].split or "" for chosen in some.values() for row in chosen}
    assert set(sides.values()) == {"train", "test"}
    found = audit(rows, sides)
    assert (found.groups, found.pairs) == ([], [])
    assert found.compared > len(sides)


@pytest.mark.archive
def test_two_photographs_of_one_field_are_a_leak(bccd_rows: Rows) -> None:
    """230 trains and 257 tests, as published; both show the same cell."""
    views = find_views(bccd_rows)
    sides = dict.fromkeys(views["230"][:4], "train") | dict.fromkeys(views["257"][:4], "test")
    found = audit(bccd_rows, sides)
    assert found.leaked == sorted(views["257"][:4])


@pytest.mark.parametrize("joined", [True, False])
def test_a_photograph_of_validation_and_test_alone_is_a_leak(
    rows: Rows, some: dict[str, list[int]], joined: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it trains. Whether the nearest files find it first is a matter of luck."""
    if not joined:
        monkeypatch.setattr(search._Search, "join_views", lambda _: None)
    (_, leaky), *others = list(some.items())[:4]
    sides = {row: "train" for _, chosen in others for row in chosen[:2]}
    sides |= dict.fromkeys(leaky[:2], "validation") | dict.fromkeys(leaky[2:4], "test")
    found = audit(rows, sides)
    assert found.leaked == sorted(leaky[2:4])
    assert [pair.one for pair in found.pairs] == sorted(leaky[2:4])
    assert {pair.other for pair in found.pairs} <= set(leaky[:2])


def test_the_photographs_that_a_data_set_declares_are_not_looked_at(
    rows: Rows, some: dict[str, list[int]], leaky: Audit
) -> None:
    blind = replace(
        rows,
        samples=tuple(replace(s, photograph=None, group=None) for s in rows.samples),
        groups=rows.hashes,
    )
    found = audit(blind, split_by_view(some))
    assert (found.leaked, found.pairs) == (leaky.leaked, leaky.pairs)


def test_a_check_counts_what_was_found_and_missed(
    rows: Rows, some: dict[str, list[int]], leaky: Audit
) -> None:
    scores = check(rows, leaky)
    assert scores["files"] == {"true": 16, "told": 16, "both": 16, "recall": 1.0, "precision": 1.0}
    assert scores["groups"]["recall_interval"] == pytest.approx([0.025 ** (1 / 8), 1.0])
    lost, *kept = leaky.groups
    part = replace(leaky, groups=kept)
    assert check(rows, part)["files"]["recall"] == 14 / 16
    # Declared apart, the same find is a false one.
    apart = list(rows.groups)
    for row in lost:
        apart[row] = f"apart {row}"
    told = check(replace(rows, groups=tuple(apart)), leaky)
    assert told["files"]["precision"] == 14 / 16
    assert photographs(rows, lost) == set(told["pairs_of_different_groups"][0]["photographs"])


def test_the_document_ties_each_file_to_the_one_it_shows(rows: Rows, leaky: Audit) -> None:
    document = describe(rows, leaky)
    assert document["files"] == {"train": 16, "validation": 8, "test": 8}
    assert document["leaked_files"] == {"validation": 8, "test": 8}
    photograph = {s.path: s.photograph for s in rows.samples}
    for pair in document["pairs"]:
        assert photograph[pair["file"]] == photograph[pair["shows"]]
        assert (pair["side"], pair["shows_side"]) in (
            ("validation", "train"), ("test", "train"), ("test", "validation"),
        )  # fmt: skip
        assert 0 < pair["share"] <= 1
        assert 0 < pair["covered"] <= 1
        assert pair["confidence"] >= 0.9
    json.dumps(document, allow_nan=False)


# --- a folder ------------------------------------------------------------------------------------


@pytest.fixture
def halves(drawn: Rows, tmp_path: Path) -> Path:
    """A folder of train and test halves, of which one photograph stands in both."""
    root = tmp_path / "halves"
    for number, chosen in enumerate(choose(drawn).values()):
        for view, row in enumerate(chosen[:2]):
            side = "test" if number < 2 or (number == 2 and view) else "train"
            folder = root / side / ("neutrophil" if number % 2 else "eosinophil")
            folder.mkdir(parents=True, exist_ok=True)
            content = drawn.source.read(drawn.samples[row].path)
            (folder / f"{number}_{view}.jpg").write_bytes(content)
    return root


def test_a_leak_between_folders_exits_with_3(
    wbczoo: Callable[..., Completed], halves: Path
) -> None:
    done = wbczoo("data", "audit", halves, "--json", expect=3)
    document = json.loads(done.stdout)
    assert document["leaked_files"] == {"test": 1}
    [pair] = document["pairs"]
    assert (pair["file"], pair["shows"]) == ("test/eosinophil/2_1.jpg", "train/eosinophil/2_0.jpg")
    assert document["check"] is None


def test_a_clean_folder_exits_with_0_and_its_report_split_with_3(
    halves: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (halves / "test" / "eosinophil" / "2_1.jpg").unlink()
    assert call(["data", "audit", halves]) == 0
    assert "0 of 4 test files show what an earlier side shows too." in capsys.readouterr().out
    assert call(["data", "audit", halves, "--protocol", "report"]) == 3
    assert "LEAK: 2 of 2 test files" in capsys.readouterr().out


def test_a_damaged_image_is_refused_and_the_rest_audited(
    halves: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (halves / "test" / "eosinophil" / "0_0.jpg").write_bytes(b"no image")
    assert call(["data", "audit", halves, "--json"]) == 3
    told = capsys.readouterr()
    document = json.loads(told.out)
    assert list(document["refused"]) == ["test/eosinophil/0_0.jpg"]
    assert document["files"] == {"train": 11, "test": 4}
    assert document["leaked_files"] == {"test": 1}
    assert "refused test/eosinophil/0_0.jpg" in told.err


def test_equal_bytes_are_a_leak_even_where_nothing_is_to_be_seen(halves: Path) -> None:
    Image.new("RGB", (320, 240), (210, 200, 190)).save(halves / "train" / "eosinophil" / "e.png")
    shutil.copy(halves / "train" / "eosinophil" / "e.png", halves / "test" / "neutrophil" / "c.png")
    Image.new("RGB", (320, 240), (180, 200, 190)).save(halves / "test" / "neutrophil" / "other.png")
    rows = read_rows(FOLDER, halves)
    found = audit(rows, published_sides(rows, None))
    paths = [sample.path for sample in rows.samples]
    assert "test/neutrophil/c.png" in [paths[row] for row in found.leaked]
    assert [paths[row] for row in found.unjudged] == [
        "test/neutrophil/c.png", "test/neutrophil/other.png", "train/eosinophil/e.png",
    ]  # fmt: skip
    assert describe(rows, found)["leaked_without_a_pair"] == ["test/neutrophil/c.png"]


def test_a_copied_file_is_tied_to_what_it_is_a_copy_of(halves: Path) -> None:
    copy = halves / "test" / "neutrophil" / "größer.jpg"
    shutil.copy(halves / "train" / "eosinophil" / "4_0.jpg", copy)
    shutil.copy(copy, copy.with_name("again.jpg"))
    rows = read_rows(FOLDER, halves)
    document = describe(rows, audit(rows, published_sides(rows, None)))
    shown = {pair["file"]: pair for pair in document["pairs"]}
    for name in ("again.jpg", copy.name):
        pair = shown[f"test/neutrophil/{name}"]
        assert pair["shows"] == "train/eosinophil/4_0.jpg"
        assert pair["inliers"] > 4 * FEWEST_INLIERS
    assert document["leaked_without_a_pair"] == []


def test_grey_and_tiny_images_are_audited(halves: Path) -> None:
    for path in sorted(halves.rglob("2_*.jpg")):
        Image.open(path).convert("L").save(path)
    noise = np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8)
    Image.fromarray(noise).save(halves / "train" / "neutrophil" / "tiny.png")
    Image.new("L", (16, 3000)).save(halves / "test" / "neutrophil" / "long.png")
    rows = read_rows(FOLDER, halves)
    found = audit(rows, published_sides(rows, None))
    assert [rows.samples[row].path for row in found.leaked] == ["test/eosinophil/2_1.jpg"]


def test_two_files_are_enough_and_none_that_can_be_read_is_a_sentence(tmp_path: Path) -> None:
    for folder, colour in (("train/eosinophil", "red"), ("test/neutrophil", "blue")):
        (tmp_path / folder).mkdir(parents=True)
        Image.new("RGB", (32, 32), colour).save(tmp_path / folder / "1.png")
    rows = read_rows(FOLDER, tmp_path)
    found = audit(rows, published_sides(rows, None))
    assert (found.groups, found.pairs, len(found.unjudged)) == ([], [], 2)
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"no image")
    rows = read_rows(FOLDER, tmp_path)
    with pytest.raises(WbczooError, match="every image was refused"):
        audit(rows, published_sides(rows, None))


def test_without_the_extra_it_says_what_to_install(halves: Path) -> None:
    script = (
        "import sys; sys.modules['cv2'] = None\n"
        "from wbczoo.cli import main\n"
        "sys.exit(main(['list', '--json']) or main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "data", "audit", str(halves)], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == (
        "Error: Auditing needs OpenCV (cv2) and threadpoolctl, of which cv2 is not installed: "
        f"{how_to_install('train')}.\n"
    )


def test_what_cannot_be_audited_is_a_sentence(
    halves: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["data", "audit", halves, "--check"]) == 2
    assert "nobody knows which files show the same photograph" in capsys.readouterr().err
    assert call(["data", "audit", halves, "--part", "simple"]) == 2
    assert "has no part 'simple'" in capsys.readouterr().err
    flat = tmp_path / "flat"
    shutil.copytree(halves / "train", flat)
    assert call(["data", "audit", flat]) == 2
    assert "has no published split to audit" in capsys.readouterr().err


# --- what is kept --------------------------------------------------------------------------------


def test_keypoints_are_found_once_and_again_where_they_are_damaged(
    smears: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WBCZOO_CACHE", str(tmp_path))
    contents = [path.read_bytes() for path in sorted(smears.rglob("*.jpg"))[:6]]
    wanted = {hashlib.sha256(c).hexdigest(): lambda c=c: c for c in contents}  # type: ignore[misc]
    asked: list[Callable[[], bytes]] = []

    def counted(digest: str) -> Callable[[], bytes]:
        return lambda: (asked.append(wanted[digest]), wanted[digest]())[1]

    readers = {digest: counted(digest) for digest in wanted}
    with ThreadPoolExecutor(2) as pool:
        first = read_keypoints(readers, pool=pool)
        assert len(asked) == 6
        again = read_keypoints(readers, pool=pool)
        assert len(asked) == 6
        [kept] = (tmp_path / "keypoints").iterdir()
        kept.write_bytes(kept.read_bytes()[:-200])
        mended = read_keypoints(readers, pool=pool)
        assert len(asked) == 12
    for found in (again, mended):
        for digest, told in first.items():
            now = found[digest]
            assert isinstance(told, Keypoints)
            assert isinstance(now, Keypoints)
            assert np.array_equal(told.points, now.points)
            assert np.array_equal(told.descriptors, now.descriptors)
            assert told.area == now.area
