"""A user's own images: folders named after the classes, and what the user knows of their origin."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from unicodedata import normalize

from wbczoo.errors import UsageError, WbczooError, some
from wbczoo.images.tree import Tree
from wbczoo.specs import DatasetSpec, Sample, Split
from wbczoo.tasks import fold
from wbczoo_datasets.labels import CELLS, LABELS
from wbczoo_datasets.tables import ORIGINS, read_labels, read_origins, task_labels

_SPLITS: dict[str, Split] = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}

Placed = tuple[str, Split | None, str]  # path, published split, label


def samples(
    root: Path,
    *,
    photograph_from: str | None = None,
    each_file_a_photograph: bool = False,
    labels: str = "",
    labels_from: str | None = None,
) -> list[Sample]:
    """The images in class-named folders, at the top of a folder or a zip file.

    The class folders may stand in `train`, `val` (`valid`, `validation`) and `test` instead, in
    any case, which are then the published split; and one folder around everything is passed
    over. The label is the class folder's name as written; an image outside every class folder
    has the label "", so that each task counts it as left out. Files that are no images by their
    suffix are ignored.

    Args:
        root: the folder or zip file.
        photograph_from: how a file's photograph is known: a regular expression, searched in the
            path relative to `root`, whose group `photograph` (or its first) is the photograph;
            or the path of a CSV file (it ends in .csv) with the columns file, photograph (or
            slide, or patient) and, for photographs that must stay together, group. `file` is the
            path relative to `root`, or to the folder around everything; else the name, where no
            other image and no other row has it.
        each_file_a_photograph: the user states that no two files share a photograph.
        labels: what folders' names mean, as `RAW=CLASS/RAW=CLASS`: the label of images in a
            folder RAW is CLASS. A folder's name holds no `/`.
        labels_from: the path of a CSV file with the columns file and label, and maybe
            photograph, slide, patient, group, split and laboratory; further columns are labels
            for the tasks of their names. Folders are then no classes. An image without a row has
            the label "".

    Raises:
        UsageError: if `root` is not there, has fewer than two class folders, or mixes them with
            split folders; for a regular expression or CSV file that cannot serve; for a label
            that no folder has; or for options that contradict each other.
        WbczooError: if `photograph_from` says nothing about some files.
    """
    if photograph_from and each_file_a_photograph:
        raise UsageError(
            "photograph_from and each_file_a_photograph contradict each other: give one of them."
        )
    names = Tree(root).images()
    top = _wrapping_folder(names)
    found = [(name, *_placed(name.removeprefix(top))) for name in names]
    known: Mapping[str, Mapping[str, str]] = {}
    if labels_from:
        _refuse_recorded(labels_from, "--labels CSV")
        known = read_labels(Path(labels_from), root, names, top)
        found = [
            (name, _split_of(name, split, known), _of(known, name, "label") or "")
            for name, split, _ in found
        ]
    if labels:
        found = _renamed(found, labels)
    _require_classes(root, found, by_table=bool(labels_from))
    if photograph_from:
        if any(row[column] for row in known.values() for column in ORIGINS):
            raise UsageError(
                "photograph_from and the table of labels both say what an image is of: leave out "
                "the one, or the columns of the other."
            )
        origins = _origins(photograph_from, root, names, top)
    else:
        origins = known
    made = []
    for name, split, label in found:
        photograph = _of(origins, name, "photograph") or (name if each_file_a_photograph else None)
        made.append(
            Sample(
                name,
                label,
                photograph,
                _of(origins, name, "group"),
                split,
                laboratory=_of(known, name, "laboratory"),
                slide=_of(origins, name, "slide"),
                patient=_of(origins, name, "patient"),
                labels=task_labels(known[name]) if name in known else {},
            )
        )
    return made


def _of(rows: Mapping[str, Mapping[str, str]], name: str, column: str) -> str | None:
    return rows.get(name, {}).get(column) or None


def _split_of(
    name: str, folder: Split | None, known: Mapping[str, Mapping[str, str]]
) -> Split | None:
    """The published split of an image: the table's, else that of the folder it stands in."""
    split = _of(known, name, "split")
    if split is None:
        return folder
    if split.casefold() not in _SPLITS:
        raise UsageError(
            f"{name} has the split {split!r} in the table; it is one of {', '.join(_SPLITS)}."
        )
    return _SPLITS[split.casefold()]


def _wrapping_folder(names: Sequence[str]) -> str:
    """The one folder, with its `/`, around all class or split folders; "" where there is none."""
    tops = {name.partition("/")[0] for name in names}
    top = min(tops, default="")
    inside = len(tops) == 1 and all(name.count("/") >= 2 for name in names)
    # A lone class folder with folders in it is no wrapper: its name says so.
    return f"{top}/" if inside and top.casefold() not in _SPLITS and top not in CELLS else ""


def _placed(name: str) -> tuple[Split | None, str]:
    """The published split and the label of a path below the wrapping folder."""
    folders = name.split("/")[:-1]
    split = _SPLITS.get(folders[0].casefold()) if folders else None
    classes = folders[1:] if split else folders
    return split, classes[0] if classes else ""


def _renamed(found: Sequence[Placed], labels: str) -> list[Placed]:
    meant: dict[str, str] = {}
    for pair in labels.split("/"):
        raw, equals, label = pair.rpartition("=")
        if not equals or not raw.strip() or not label.strip():
            raise UsageError(f"{pair!r} is no label: RAW=CLASS, such as 0=neutrophil.")
        if meant.setdefault(_plain(raw), label.strip()) != label.strip():
            raise UsageError(f"The folder {raw!r} is given two labels; keep the right one.")
    if unknown := meant.keys() - {_plain(label) for _, _, label in found}:
        raise UsageError(
            f"There is no class folder {some(sorted(unknown))}; there are "
            f"{some(sorted({label for _, _, label in found if label}), most=20)}."
        )
    return [(name, split, meant.get(_plain(label), label)) for name, split, label in found]


def _plain(raw: str) -> str:
    return normalize("NFC", raw).strip().casefold()


def _require_classes(root: Path, found: Sequence[Placed], *, by_table: bool) -> None:
    labels = sorted({label for _, _, label in found if label})
    if not labels:
        raise UsageError(
            f"{root} has no class folder with images in it ({len(found)} images found). Put each "
            "class into a folder of its name, eosinophil/1.jpg, neutrophil/2.jpg, or name a table "
            "of labels: --labels CSV."
        )
    if len({fold(label) for label in labels}) == 1:
        raise UsageError(
            f"{root} has images of one class only, {labels[0]!r}; a classifier needs two."
        )
    if by_table:
        return
    beside = sorted({label for _, split, label in found if label and split is None})
    if beside and any(split for _, split, _ in found):
        raise UsageError(
            f"{root} has class folders both inside and beside its train, val and test folders: "
            f"{some(beside)}. Move them into one of those, or take them away."
        )


def _origins(
    photograph_from: str, root: Path, names: Sequence[str], top: str
) -> Mapping[str, Mapping[str, str]]:
    """Image -> what it is of, for each image."""
    _refuse_recorded(photograph_from, "--photograph-from CSV")
    if photograph_from.lower().endswith(".csv"):
        found = read_origins(Path(photograph_from), root, names, top)
    else:
        found = _match(photograph_from, names)
    if orphans := [name for name in names if name not in found]:
        raise WbczooError(
            f"photograph_from says nothing about {len(orphans)} of {len(names)} images in {root}: "
            f"{some(orphans)}. Widen it until every image has its photograph, or leave it out: "
            "the data are then of unknown unit."
        )
    return found


def _refuse_recorded(option: str, flag: str) -> None:
    if " sha256:" in option:
        raise UsageError(f"It stood in a table, {option}. Give its path again: {flag}.")


def _match(expression: str, names: Sequence[str]) -> dict[str, Mapping[str, str]]:
    try:
        pattern = re.compile(normalize("NFC", expression))
    except re.error as error:
        raise UsageError(f"{expression!r} is no regular expression: {error}.") from None
    if not pattern.groups:
        raise UsageError(
            f"The regular expression {expression!r} has no group; put the part of the path that "
            r"names the photograph into parentheses, such as slide_(\d+)."
        )
    group = "photograph" if "photograph" in pattern.groupindex else 1
    found = {name: pattern.search(normalize("NFC", name)) for name in names}
    return {name: {"photograph": m[group]} for name, m in found.items() if m and m[group]}


FOLDER = DatasetSpec(
    name="folder",
    options={
        "photograph_from": None,
        "each_file_a_photograph": False,
        "labels": "",
        "labels_from": None,
    },
    samples=samples,
    unit="unknown",
    labels=LABELS,
)
