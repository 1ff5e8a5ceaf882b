"""The peripheral blood cells of Barcelona (PBC): one analyser photograph for each cell."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

from wbczoo.errors import UsageError, some
from wbczoo.images.tree import Tree
from wbczoo.specs import DatasetSpec, Sample
from wbczoo_datasets.boxes import in_pixels, the_only
from wbczoo_datasets.labels import LABELS

FOLDERS = (
    "basophil",
    "eosinophil",
    "erythroblast",
    "ig",
    "lymphocyte",
    "monocyte",
    "neutrophil",
    "platelet",
)


def samples(root: Path) -> list[Sample]:
    """The samples of `PBC_dataset_normal_DIB/<class>/*.jpg`, in a folder or a zip file.

    The label is the folder's name; the finer stages that file names tell (`PMY`, `SNE`) are not
    used. Each file is the analyser's own photograph of one cell, named by its stem. Which files
    are of one patient was not published, so cells of one patient may stand on both sides of any
    split. There is no published split. White cells of 142 files were boxed (TXL-PBC).

    Raises:
        UsageError: if `root` is not there or has none of the eight class folders.
    """
    found = []
    tree = Tree(root)
    for name in tree.images():
        path = PurePosixPath(name)
        boxes = in_pixels(tree, name, "pbc_boxes.csv")
        label = path.parent.name
        found.append(Sample(name, label, path.stem, box=the_only(boxes), boxes=boxes))
    if not any(sample.label in FOLDERS for sample in found):
        folders = Counter(sample.label for sample in found)
        raise UsageError(
            f"{root} is not the PBC data set: expected PBC_dataset_normal_DIB/<class>/*.jpg with "
            f"the classes {', '.join(FOLDERS)}; found images in "
            f"{some(folder or 'its top' for folder in folders) if folders else 'no folder'}."
        )
    return found


PBC = DatasetSpec(
    name="pbc",
    licence="CC-BY-4.0",
    reference="https://doi.org/10.1016/j.dib.2020.105474",
    samples=samples,
    unit="photograph",
    labels=LABELS,
    url="https://data.mendeley.com/datasets/snkd93bnjr/1",
    citation=(
        "A. Acevedo, A. Merino, S. Alférez, Á. Molina, L. Boldú and J. Rodellar: A dataset of "
        "microscopic peripheral blood cell images for development of automatic recognition "
        "systems. Data in Brief 30 (2020) 105474. Boxes: TXL-PBC (MIT)."
    ),
)
