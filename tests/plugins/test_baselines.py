"""The baselines answer for real cells, for hard images, and expose a split that leaks."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from wbczoo import images
from wbczoo.data.samples import Rows
from wbczoo.errors import UsageError
from wbczoo.specs import BaselineSpec
from wbczoo.tasks import CELL
from wbczoo.testing import checks_of
from wbczoo_baselines import MAJORITY, NEAREST, NUCLEUS_KNN, NUCLEUS_SVM
from wbczoo_baselines.features import NAMES, SIMPLE, describe
from wbczoo_baselines.segmentation import find_cell

ALL = (MAJORITY, NEAREST, NUCLEUS_KNN, NUCLEUS_SVM)
Image8 = NDArray[np.uint8]
Labelled = tuple[list[Image8], NDArray[np.int64], list[str]]

VIOLET, PINK, RED_CELL, SLIDE = (90, 40, 170), (225, 190, 215), (190, 130, 130), (215, 215, 205)


def draw(*, lobes: int = 1, height: int = 240, width: int = 320, turn: float = 0.0) -> Image8:
    """A smear of one white cell with so many separate lobes, among red cells."""
    image = np.empty((240, 320, 3), np.uint8)
    image[:] = SLIDE
    rows, columns = np.mgrid[:240, :320]
    for row in range(20, 240, 50):
        image[np.hypot(rows - row, columns - 40) < 18] = RED_CELL
        image[np.hypot(rows - row, columns - 280) < 18] = RED_CELL
    image[np.hypot(rows - 120, columns - 160) < 42] = PINK
    for lobe in range(lobes):
        angle = turn + 2 * np.pi * lobe / lobes
        off = 0 if lobes == 1 else 14 / np.sin(np.pi / lobes)  # five pixels part them
        row, column = 120 + off * np.sin(angle), 160 + off * np.cos(angle)
        image[np.hypot(rows - row, columns - column) < (26 if lobes == 1 else 12)] = VIOLET
    chosen = np.ix_(np.arange(height) * 240 // height, np.arange(width) * 320 // width)
    return np.ascontiguousarray(image[chosen])


@pytest.fixture(autouse=True)
def _no_warning() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture(scope="module")
def photographs(bccd_rows: Rows) -> Labelled:
    """Real training photographs: twelve of each class, in groups of their own."""
    targets = bccd_rows.targets([CELL])["cell"]
    chosen = []
    for place in range(len(CELL.classes)):
        groups: dict[str, int] = {}
        for row, sample in enumerate(bccd_rows.samples):
            if targets[row] == place and sample.part == "photographs" and sample.split == "train":
                groups.setdefault(bccd_rows.groups[row], row)
        chosen += list(groups.values())[:12]
    shown = [read(bccd_rows, row) for row in chosen]
    return shown, targets[chosen], [bccd_rows.groups[row] for row in chosen]


def read(rows: Rows, row: int) -> Image8:
    return images.decode(rows.source.read(rows.samples[row].path))


def answers(spec: BaselineSpec, given: Labelled, asked: list[Image8]) -> Any:
    model = spec.build(seed=0, **spec.options)
    model.fit(*given)
    found = model.predict_proba(asked)
    assert np.isfinite(found).all()
    assert found.min() >= 0
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-9)
    return found


# --- the contract ----------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec.name)
def test_the_conformance_kit_passes(spec: BaselineSpec) -> None:
    for check in checks_of(spec):
        check(spec)


def test_declaring_them_imports_no_framework() -> None:
    code = (
        "import sys\n"
        "import wbczoo_baselines\n"
        "print(*({'numpy', 'scipy', 'skimage', 'sklearn', 'PIL'} & set(sys.modules)))\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert (result.returncode, result.stdout.strip()) == (0, ""), result.stderr


@pytest.mark.parametrize(
    ("spec", "options", "said"),
    [
        (NUCLEUS_KNN, {"neighbours": 0}, "neighbours=0 cannot be"),
        (NUCLEUS_SVM, {"C": 0.0}, r"C=0\.0 cannot be"),
        (NUCLEUS_SVM, {"gamma": float("nan")}, "gamma=nan cannot be"),
        (NUCLEUS_SVM, {"gamma": float("inf")}, "gamma=inf cannot be"),
    ],
)
def test_an_option_that_cannot_be_is_told(
    spec: BaselineSpec, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        spec.build(seed=0, **options)


# --- real photographs ------------------------------------------------------------------------


@pytest.mark.archive
def test_the_majority_answers_with_the_shares(photographs: Labelled) -> None:
    shown, labels, groups = photographs
    given = shown[:18], labels[:18], groups[:18]  # twelve eosinophils, six lymphocytes
    np.testing.assert_allclose(answers(MAJORITY, given, shown[-2:]), [[2 / 3, 1 / 3]] * 2)


@pytest.mark.archive
@pytest.mark.parametrize(("spec", "least"), [(NUCLEUS_KNN, 0.6), (NUCLEUS_SVM, 0.7)])
def test_photographs_that_were_held_out_are_told_apart(
    spec: BaselineSpec, least: float, photographs: Labelled
) -> None:
    shown, labels, groups = photographs
    right = 0
    for turn in range(3):
        held = [place for place in range(len(shown)) if place % 3 == turn]
        kept = [place for place in range(len(shown)) if place % 3 != turn]
        given = [shown[n] for n in kept], labels[kept], [groups[n] for n in kept]
        found = answers(spec, given, [shown[place] for place in held])
        right += int((found.argmax(1) == labels[held]).sum())
    assert right / len(shown) >= least


@pytest.mark.archive
def test_the_nucleus_of_nearly_every_photograph_is_found_in_its_box(bccd_rows: Rows) -> None:
    targets = bccd_rows.targets([CELL])["cell"]
    rows = [
        row
        for row, sample in enumerate(bccd_rows.samples)
        if targets[row] >= 0 and sample.part == "photographs" and sample.box is not None
    ][::8]
    assert len(rows) > 30
    sizes = []
    for row in rows:
        cell = find_cell(read(bccd_rows, row))
        assert cell is not None
        box = bccd_rows.samples[row].box
        assert box is not None
        left, top, right, bottom = (side / 2 for side in box)  # 640 pixels become 320
        sizes.append(cell.nucleus.sum() / ((right - left) * (bottom - top)))
    # A nucleus is smaller than the box of its cell, and no speck in it.
    assert np.mean([0.15 < size < 0.95 for size in sizes]) >= 0.9


@pytest.mark.archive
def test_the_nearest_neighbour_knows_a_photograph_by_its_views(bccd_rows: Rows) -> None:
    views: dict[str, list[int]] = {}
    for row, sample in enumerate(bccd_rows.samples):
        if sample.part == "augmented" and sample.split == "train":
            views.setdefault(bccd_rows.groups[row], []).append(row)
    shown = [rows[:3] for rows in views.values() if len(rows) > 2][:40]
    known = [read(bccd_rows, row) for rows in shown for row in rows[:2]]
    asked = [read(bccd_rows, rows[2]) for rows in shown]
    photograph = np.arange(len(shown))
    given = known, photograph.repeat(2), [str(n) for n in photograph.repeat(2)]
    assert (answers(NEAREST, given, asked).argmax(1) == photograph).mean() >= 0.9


# --- what is measured ------------------------------------------------------------------------


def test_lobes_are_counted_and_a_turn_changes_little() -> None:
    for lobes in (1, 2, 3, 4):
        measured = describe(draw(lobes=lobes))
        assert measured[NAMES.index("parts")] == lobes
        turned = describe(draw(lobes=lobes, turn=0.6))
        for name in ("radius", "solidity", "nucleus of cell", "nucleus red mean"):
            place = NAMES.index(name)
            assert turned[place] == pytest.approx(measured[place], rel=0.05), name


def test_a_dimmer_lamp_and_another_size_change_little() -> None:
    measured = describe(draw(lobes=3))
    dim = describe((draw(lobes=3) * 0.8).astype(np.uint8))
    large = describe(draw(lobes=3, height=480, width=640))
    for name in SIMPLE:
        place = NAMES.index(name)
        assert dim[place] == pytest.approx(measured[place], rel=0.05, abs=0.01), name
        assert large[place] == pytest.approx(measured[place], rel=0.1, abs=0.02), name


def test_black_fill_is_no_nucleus() -> None:
    filled = draw()
    rows, columns = np.mgrid[:240, :320]
    filled[rows + columns < 90] = 0
    filled[rows - columns > 130] = 3
    whole, less = describe(draw()), describe(filled)
    for name in ("radius", "parts", "solidity", "nucleus blue mean"):
        place = NAMES.index(name)
        assert less[place] == pytest.approx(whole[place], rel=0.05), name


def test_of_two_cells_one_is_described() -> None:
    two = np.concatenate([draw(lobes=3), draw(lobes=1)], 1)[:, 80:560]
    assert describe(two)[NAMES.index("parts")] in (1, 3)


def test_a_remembered_description_is_the_images_own() -> None:
    image = draw(lobes=2)
    first = describe(image).copy()
    assert not np.array_equal(describe(draw(lobes=3)), first)
    np.testing.assert_array_equal(describe(image.copy()), first)
    # The same bytes in another shape are another image.
    other = describe(image.reshape(320, 240, 3))
    assert not np.array_equal(other, first)


def hard() -> dict[str, Image8]:
    """Images that a folder may hold, and that hold no white cell or little of one."""
    rng = np.random.default_rng(0)
    checked = np.zeros((96, 96, 3), np.uint8)
    checked[::2, ::2] = checked[1::2, 1::2] = VIOLET
    speck = draw()
    speck[90:150, 120:200] = SLIDE
    speck[120:123, 160:163] = VIOLET
    return {
        "black": np.zeros((240, 320, 3), np.uint8),
        "white": np.full((240, 320, 3), 255, np.uint8),
        "grey": np.full((50, 40, 3), 128, np.uint8),
        "all violet": np.full((64, 64, 3), VIOLET, np.uint8),
        "smallest": rng.integers(0, 256, (16, 16, 3), np.uint8),
        "a strip": rng.integers(0, 256, (16, 900, 3), np.uint8),
        "a column": rng.integers(0, 256, (1500, 16, 3), np.uint8),
        "noise": rng.integers(0, 256, (240, 320, 3), np.uint8),
        "checked": checked,
        "a speck": speck,
        "no white cell": np.where(draw()[..., :1] == VIOLET[0], np.uint8(200), draw()),
        "half a cell": draw(lobes=3)[:120, :160],
        "a tiny smear": draw(lobes=2, height=17, width=19),
        "turned and mirrored": draw(lobes=3)[::-1, ::-1].transpose(1, 0, 2),
        "one lit pixel": np.pad(np.full((1, 1, 3), 200, np.uint8), ((40, 40), (40, 40), (0, 0))),
    }


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec.name)
def test_hard_images_are_answered_and_trained_on(spec: BaselineSpec) -> None:
    strange = list(hard().values())
    cells = [draw(lobes=1 + n % 2, turn=n) for n in range(12)]
    labels = np.arange(12) % 2
    groups = [str(n) for n in range(12)]
    assert answers(spec, (cells, labels, groups), strange).shape == (len(strange), 2)

    mixed = cells + strange
    known = np.concatenate([labels, np.arange(len(strange)) % 2])
    found = answers(spec, (mixed, known, [str(n) for n in range(len(mixed))]), mixed)
    assert found.shape == (len(mixed), 2)


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec.name)
def test_few_images_are_enough(spec: BaselineSpec) -> None:
    two = [draw(lobes=1), draw(lobes=3)]
    assert answers(spec, (two, np.array([0, 1]), ["a", "b"]), two).shape == (2, 2)
    assert answers(spec, (two, np.array([0, 0]), ["a", "a"]), two).shape == (2, 1)
    # Nothing was found on any of them.
    blank = [image for name, image in hard().items() if name in ("black", "white", "grey")]
    assert answers(spec, (blank, np.array([0, 1, 2]), ["a", "a", "b"]), blank).shape == (3, 3)
    # Classes that share all their groups leave no fold with every class.
    four = [draw(lobes=1 + n % 4, turn=n) for n in range(8)]
    groups = ["x", "x", "x", "x", "y", "y", "y", "y"]
    assert answers(spec, (four, np.arange(8) % 4, groups), four).shape == (8, 4)


@pytest.mark.archive
def test_probabilities_of_the_machine_are_no_certainties(photographs: Labelled) -> None:
    shown, labels, groups = photographs
    kept = [place for place in range(len(shown)) if place % 3]
    given = [shown[n] for n in kept], labels[kept], [groups[n] for n in kept]
    # On the images that it was fitted on it is nearly always right, but it must not think so of
    # others: its probabilities were learned from photographs that were held out.
    found = answers(NUCLEUS_SVM, given, [shown[n] for n in kept])
    assert (found.argmax(1) == labels[kept]).mean() > found.max(1).mean()


def test_images_are_asked_for_one_by_one() -> None:
    class OneByOne:
        """A sequence that lends one array again and again, as a reader of a file may."""

        def __init__(self, lobes: list[int]) -> None:
            self.lobes, self.lent = lobes, np.empty((240, 320, 3), np.uint8)

        def __len__(self) -> int:
            return len(self.lobes)

        def __iter__(self) -> Iterator[Image8]:
            for number in self.lobes:
                self.lent[:] = draw(lobes=number)
                yield self.lent

    lobes = [1, 3, 1, 3, 1, 3]
    labels = np.array([0, 1] * 3)
    for spec in (NEAREST, NUCLEUS_KNN, NUCLEUS_SVM):
        model = spec.build(seed=0, **spec.options)
        model.fit(OneByOne(lobes), labels, list("abcdef"))
        plain = answers(spec, ([draw(lobes=n) for n in lobes], labels, list("abcdef")), [draw()])
        np.testing.assert_array_equal(model.predict_proba(OneByOne([1])), plain)
