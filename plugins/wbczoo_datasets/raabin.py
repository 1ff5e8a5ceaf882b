"""Raabin-WBC: cells cut from fields of smears, each file named after its slide."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from wbczoo.errors import UsageError, WbczooError, some
from wbczoo.images.tree import Tree
from wbczoo.specs import DatasetSpec, Sample
from wbczoo_datasets.boxes import in_pixels, the_only
from wbczoo_datasets.labels import CELLS, LABELS

# `95-8-10-1_962_1.jpg` is the first cell of a field of the slide 95-8-10-1; basophils bear a date.
_SLIDE = re.compile(r"(\d+-\d+-\d+-\d+|20\d{6})_")


def samples(root: Path) -> list[Sample]:
    """The samples of `<class>/<slide>_<field>_<cell>.jpg`, in a folder or a zip file.

    The label is the folder's name, and the photograph is the slide. White cells of 500 files
    were boxed (TXL-PBC); a file that shows the rim of its field is black beyond it.

    Raises:
        UsageError: if `root` is not there or has no such class folder.
        WbczooError: if files are not named after a slide.
    """
    tree = Tree(root)
    found: list[Sample] = []
    strange: list[str] = []
    for name in tree.images():
        path = PurePosixPath(name)
        slide = _SLIDE.match(path.name)
        if path.parent.name not in CELLS:
            continue
        if slide is None:
            strange.append(name)
            continue
        boxes = in_pixels(tree, name, "raabin_boxes.csv")
        label = path.parent.name
        found.append(Sample(name, label, slide[1], slide[1], box=the_only(boxes), boxes=boxes))
    if strange:
        raise WbczooError(
            f"{len(strange)} files in {root} are not named after a slide, as those of Raabin-WBC "
            f"are (95-8-10-1_962_1.jpg): {some(strange)}. Remove them; images of your own go "
            "through --dataset folder."
        )
    if not found:
        raise UsageError(
            f"{root} is not Raabin-WBC: expected class folders such as neutrophil with files such "
            f"as 95-8-10-1_962_1.jpg; found {some(tree.names)}."
        )
    return found


RAABIN = DatasetSpec(
    name="raabin",
    licence="free for commercial and non-commercial use, as a catalogue of data sets states",
    reference="https://doi.org/10.1038/s41598-021-04426-x",
    samples=samples,
    unit="slide",
    confounded=(
        "every basophil is from four dated groups that hold no other cell, so that the slide "
        "tells it; some files are black beyond the rim of the field"
    ),
    labels=LABELS,
    url="https://raabindata.com",
    citation=(
        "Z. M. Kouzehkanan et al.: A large dataset of white blood cells containing cell locations "
        "and types, along with segmented nuclei and cytoplasm. Scientific Reports 12 (2022) 1123. "
        "Boxes: TXL-PBC (MIT)."
    ),
)
