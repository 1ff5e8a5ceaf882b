"""What the plugin `pbc` says of its archive and its folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from dataset_files import classes, make

from wbczoo.errors import UsageError
from wbczoo.specs import Sample
from wbczoo.tasks import CELL5, NUCLEUS, PBC8
from wbczoo_datasets.pbc import PBC


@pytest.fixture(scope="module")
def archive(shared: Path) -> Path:
    return shared / "data" / "blood-cells.zip"


def test_pbc_has_each_image_as_its_own_photograph(shared: Path) -> None:
    found = list(PBC.samples(shared / "data" / "pbc-sample.zip"))
    # neutrophil/.DS_169665.jpg, in the published set too, is no image but a Finder's note.
    counts = dict.fromkeys(PBC8.classes, 500) | {"neutrophil": 499}
    assert classes(PBC, found, PBC8) == counts
    assert len({sample.photograph for sample in found}) == len(found) == 3999
    assert classes(PBC, found, CELL5)[None] == 1500
    assert classes(PBC, found, NUCLEUS) == {"mononuclear": 1000, "polynuclear": 999, None: 2000}
    assert {sample.split for sample in found} == {None}
    assert found[0] == Sample(
        "PBC_dataset_normal_DIB/basophil/BA_101381.jpg", "basophil", "BA_101381"
    )


def test_pbc_is_found_from_its_own_folder_and_keeps_a_strange_class(tmp_path: Path) -> None:
    make(tmp_path / "PBC_dataset_normal_DIB", "ig/MY_1.jpg", "platelet/PLATELET_2.jpg", "x/X_3.jpg")
    above = [(s.label, s.photograph) for s in PBC.samples(tmp_path)]
    inside = [(s.label, s.photograph) for s in PBC.samples(tmp_path / "PBC_dataset_normal_DIB")]
    assert above == inside == [("ig", "MY_1"), ("platelet", "PLATELET_2"), ("x", "X_3")]


def test_pbc_says_what_it_expected_and_found(archive: Path) -> None:
    with pytest.raises(UsageError, match=r"PBC_dataset_normal_DIB.*found images in JPEGImages"):
        PBC.samples(archive)
