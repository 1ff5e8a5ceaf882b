"""The Munich cells of acute myeloid leukaemia (Matek et al. 2019): known kinds and blasts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from wbczoo.errors import UsageError, some
from wbczoo.images.tree import Tree
from wbczoo.specs import DatasetSpec, Sample
from wbczoo.tasks import NUCLEUS_OF, SHIPPED

_CELL = re.compile(r"([A-Z]{3})_\d{4}(?!\d)")

# Atypical lymphocytes (LYA) are no class of a shipped task, and are left out.
_CLASS_OF = {
    "BAS": "basophil",
    "EBO": "erythroblast",
    "EOS": "eosinophil",
    "KSC": "not_a_cell",  # a smudge
    "LYT": "lymphocyte",
    "MMZ": "immature_granulocyte",
    "MOB": "blast",
    "MON": "monocyte",
    "MYB": "immature_granulocyte",
    "MYO": "blast",
    "NGB": "neutrophil",  # with a band for a nucleus
    "NGS": "neutrophil",
    "PMB": "immature_granulocyte",
    "PMO": "immature_granulocyte",
}


def samples(root: Path) -> list[Sample]:
    """The samples of `<code>/*<code>_0001*`, in a folder or a zip file; the label is the code.

    Fifteen codes, of which `MYO` is a myeloblast and `NGS` a segmented neutrophil. A photograph
    is a cell: views of one bear its number (`BAS_0053`). Which cells are of one patient was not
    published.

    Raises:
        UsageError: if `root` is not there or has no such file.
    """
    tree = Tree(root)
    found = []
    for name in tree.images():
        path = PurePosixPath(name)
        cell = _CELL.search(path.name.replace("___", "/"))
        if cell and cell[1] == path.parent.name:
            found.append(Sample(name, cell[1], cell[0]))
    if not found:
        raise UsageError(
            f"{root} is not the AML morphology data set: expected folders such as NGS with files "
            f"such as NGS_0001.tiff; found {some(tree.names)}."
        )
    return found


def _labels_of(task: str) -> Mapping[str, str]:
    if task == "nucleus":  # a band is not of several lobes, whatever its cell
        lobed = {raw: NUCLEUS_OF.get(cell) for raw, cell in _CLASS_OF.items() if raw != "NGB"}
        return {raw: nucleus for raw, nucleus in lobed.items() if nucleus}
    classes = SHIPPED[task].classes
    return {raw: cell for raw, cell in _CLASS_OF.items() if cell in classes}


LMU_AML = DatasetSpec(
    name="lmu_aml",
    licence="CC-BY-3.0",
    reference="https://doi.org/10.1038/s42256-019-0101-9",
    samples=samples,
    unit="photograph",
    confounded="rare kinds are few cells shown in several views",
    labels={task: _labels_of(task) for task in SHIPPED},
    url="https://doi.org/10.7937/tcia.2019.36f5o9ld",
    citation=(
        "C. Matek, S. Schwarz, K. Spiekermann and C. Marr: Human-level recognition of blast cells "
        "in acute myeloid leukaemia with convolutional neural networks. Nature Machine "
        "Intelligence 1 (2019) 538-544."
    ),
)
