"""What every data-set plugin does, whatever it reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from dataset_files import pack

from wbczoo.errors import UsageError, WbczooError
from wbczoo.specs import DatasetSpec
from wbczoo.tasks import ANY, CELL, NUCLEUS, PBC8, SHIPPED, Task, class_of
from wbczoo_datasets.bccd import BCCD
from wbczoo_datasets.bionet import BIONET
from wbczoo_datasets.folder import FOLDER
from wbczoo_datasets.lmu_aml import LMU_AML
from wbczoo_datasets.pbc import PBC
from wbczoo_datasets.raabin import RAABIN
from wbczoo_datasets.synthetic import SYNTHETIC

ROOT = Path(__file__).resolve().parents[2]
ALL = (BCCD, BIONET, FOLDER, LMU_AML, PBC, RAABIN, SYNTHETIC)


def test_loading_the_specs_imports_only_the_standard_library() -> None:
    code = (
        "import sys; before = set(sys.modules)\n"
        "from wbczoo_datasets import bccd, bionet, folder, lmu_aml, pbc, raabin, synthetic\n"
        "names = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(names - set(sys.stdlib_module_names)))"
    )
    paths = f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'plugins')]!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", paths + code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['wbczoo', 'wbczoo_datasets']"


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec.name)
def test_a_root_that_is_not_there_is_wrong_usage(spec: DatasetSpec, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not there"):
        spec.samples(tmp_path / "nowhere")


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec.name)
def test_a_file_that_is_no_zip_is_wrong_usage(spec: DatasetSpec, tmp_path: Path) -> None:
    (tmp_path / "data.zip").write_bytes(b"PK but no archive")
    with pytest.raises(UsageError, match="neither a folder nor a zip"):
        spec.samples(tmp_path / "data.zip")


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec.name)
@pytest.mark.parametrize("member", ["../up.jpg", "/etc/up.jpg", "a/../../up.jpg", "..\\up.jpg"])
def test_a_zip_that_points_outside_itself_is_refused(
    spec: DatasetSpec, member: str, tmp_path: Path
) -> None:
    archive = pack(tmp_path / "data.zip", "basophil/1.jpg", "monocyte/2.jpg", member)
    with pytest.raises(WbczooError, match="outside the archive"):
        spec.samples(archive)


def test_labels_give_only_classes_of_their_task() -> None:
    for spec in ALL:
        for name, table in spec.labels.items():
            assert name == ANY or set(table.values()) <= set(SHIPPED[name].classes)


@pytest.mark.parametrize(
    ("raw", "cell", "nucleus", "pbc8"),
    [
        ("Eosinophils", "eosinophil", "polynuclear", "eosinophil"),
        ("EOSINOPHIL", "eosinophil", "polynuclear", "eosinophil"),
        ("eos", "eosinophil", "polynuclear", "eosinophil"),
        ("monocyte", "monocyte", "mononuclear", "monocyte"),
        ("ig", None, None, "immature_granulocyte"),
        ("Immature Granulocytes", None, None, "immature_granulocyte"),
        ("Basophil", None, None, "basophil"),
        ("Polynuclear", None, "polynuclear", None),
        ("NEUTROPHIL, NEUTROPHIL", None, None, None),
        ("artefact", None, None, None),
        ("s", None, None, None),
        ("", None, None, None),
    ],
)
def test_raw_labels_find_their_class_or_none(
    raw: str, cell: str | None, nucleus: str | None, pbc8: str | None
) -> None:
    found = tuple(class_of(task, raw, FOLDER.labels) for task in (CELL, NUCLEUS, PBC8))
    assert found == (cell, nucleus, pbc8)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Band Neutrophil", "band_neutrophil"),
        ("band-neutrophils", "band_neutrophil"),
        ("Segmented Neutrophil", "segmented_neutrophil"),
        ("Lymphs", "lymphocyte"),
        ("eos", None),
    ],
)
def test_a_users_own_task_finds_its_classes_as_a_shipped_one_does(
    raw: str, expected: str | None
) -> None:
    stage = Task("stage", ("band_neutrophil", "segmented_neutrophil", "lymphocyte"))
    assert class_of(stage, raw, FOLDER.labels) == expected
