"""What the plugins of other laboratories say of their real archives: labels, groups and boxes."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from wbczoo.config import TrainConfig
from wbczoo.data.samples import read_rows
from wbczoo.data.splits import plan_split
from wbczoo.errors import UsageError, WbczooError
from wbczoo.specs import DatasetSpec, Sample
from wbczoo.tasks import CELL, CELL5, LEUKOCYTE, NUCLEUS, class_of
from wbczoo_datasets.bionet import BIONET
from wbczoo_datasets.lmu_aml import LMU_AML
from wbczoo_datasets.pbc import PBC
from wbczoo_datasets.raabin import RAABIN

SETS = {"raabin": RAABIN, "bionet": BIONET, "pbc": PBC, "lmu_aml": LMU_AML}


@pytest.fixture(scope="module")
def listed(shared: Path) -> dict[str, list[Sample]]:
    return {
        name: list(spec.samples(shared / "data" / f"{name.replace('_', '-')}-sample.zip"))
        for name, spec in SETS.items()
    }


@pytest.mark.parametrize(
    ("name", "files", "photographs", "boxed", "boxes"),
    [
        ("raabin", 1212, 58, 498, 508),
        ("bionet", 361, 361, 350, 360),
        ("pbc", 3999, 3999, 142, 146),
        ("lmu_aml", 150, 137, 0, 0),
    ],
)
def test_a_set_has_its_files_photographs_and_boxes(
    listed: dict[str, list[Sample]],
    name: str,
    files: int,
    photographs: int,
    boxed: int,
    boxes: int,
) -> None:
    found = [sample.boxes for sample in listed[name] if sample.boxes is not None]
    assert len(listed[name]) == files
    assert len({sample.photograph for sample in listed[name]}) == photographs
    assert (len(found), sum(map(len, found))) == (boxed, boxes)
    for sample in listed[name]:
        alone = sample.boxes is not None and len(sample.boxes) == 1
        assert (sample.box is not None) == alone


def test_shares_become_pixels_of_the_file(listed: dict[str, list[Sample]]) -> None:
    """The table's .2678 .1843 .7583 .7165 in a file of 320x320."""
    boxed = {sample.path: sample.box for sample in listed["raabin"]}
    assert boxed["raabin/basophil/20190526_163446_1.jpg"] == (86, 59, 243, 229)


def test_the_slides_of_raabins_basophils_hold_nothing_else(
    listed: dict[str, list[Sample]],
) -> None:
    of_slide = defaultdict(set)
    for sample in listed["raabin"]:
        of_slide[sample.group].add(sample.label)
    alone = {slide for slide, labels in of_slide.items() if "basophil" in labels}
    assert alone == {"20190526", "20190527", "20190531", "20190604"}
    assert all(of_slide[slide] == {"basophil"} for slide in alone)
    assert RAABIN.confounded


def test_munich_codes_are_the_kinds_of_a_slide(listed: dict[str, list[Sample]]) -> None:
    found = Counter(class_of(LEUKOCYTE, s.label, LMU_AML.labels) for s in listed["lmu_aml"])
    assert found["blast"] == 20
    assert found["immature_granulocyte"] == 40
    assert (found["neutrophil"], found["not_a_cell"], found[None]) == (20, 10, 10)
    assert class_of(CELL5, "MYO", LMU_AML.labels) is None
    assert class_of(NUCLEUS, "NGB", LMU_AML.labels) is None


@pytest.mark.parametrize(
    ("spec", "name", "told"),
    [
        (RAABIN, "neutrophil/1.jpg", "not named after a slide"),
        (BIONET, "neutrophil/1.jpg", "is not Bio-Net"),
        (LMU_AML, "NGS/1.jpg", "is not the AML morphology"),
    ],
)
def test_files_of_unknown_origin_are_refused(
    spec: DatasetSpec, name: str, told: str, tmp_path: Path
) -> None:
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).touch()
    with pytest.raises((UsageError, WbczooError), match=told):
        spec.samples(tmp_path)


def test_a_field_whose_group_nobody_knows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "neutrophil").mkdir()
    for name in ("1776-951a11.jpg", "new.jpg"):
        (tmp_path / "neutrophil" / name).touch()
    with pytest.raises(WbczooError, match=r"1 files .*neutrophil/new.jpg"):
        BIONET.samples(tmp_path)


def test_bionets_second_groups_hold_the_first_ones(
    listed: dict[str, list[Sample]], shared: Path
) -> None:
    older = BIONET.samples(shared / "data" / "bionet-sample.zip", groups=1)
    first, second = [s.group for s in older], [s.group for s in listed["bionet"]]
    assert [s.path for s in older] == [s.path for s in listed["bionet"]]
    assert (len({*first}), len({*second})) == (357, 75)
    # No older group is parted, and no group is of one field alone.
    assert len(set(zip(first, second, strict=True))) == 357
    assert (min(Counter(second).values()), max(Counter(second).values())) == (2, 10)


def test_bionets_monocytes_are_one_cell_and_four_groups_have_two_labels(
    listed: dict[str, list[Sample]],
) -> None:
    labels = defaultdict[str | None, Counter[str | None]](Counter)
    for sample in listed["bionet"]:
        labels[sample.group][sample.label] += 1
    assert [found for found in labels.values() if "monocyte" in found] == [{"monocyte": 5}]
    two = [found for found in labels.values() if len(found) > 1]
    assert sorted((found["eosinophil"], found["neutrophil"]) for found in two) == [
        (1, 2), (2, 2), (4, 1), (5, 2),
    ]  # fmt: skip


@pytest.mark.parametrize("fold", range(5))
def test_no_group_of_bionet_is_parted(fold: int, shared: Path) -> None:
    rows = read_rows(BIONET, shared / "data" / "bionet-sample.zip")
    plan = plan_split(rows, [CELL], TrainConfig(protocol="grouped", fold=fold))
    sides = [
        {rows.groups[row] for row in plan.rows(role)} for role in ("train", "validation", "test")
    ]
    assert all(sides)
    assert sum(map(len, sides)) == len(set.union(*sides)) == 75


def test_bionet_has_two_versions_of_its_groups(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="versions 1 and 2, and not 3"):
        BIONET.samples(tmp_path, groups=3)
