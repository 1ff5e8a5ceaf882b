"""A small smear set that the package renders itself, so that everything can be tried offline."""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from wbczoo.errors import ImageRefused, UsageError, WbczooError, some
from wbczoo.images.tree import Tree
from wbczoo.specs import Box, DatasetSpec, Sample, Split
from wbczoo.tasks import CELL
from wbczoo_datasets.boxes import the_only
from wbczoo_datasets.labels import LABELS

TABLE = "samples.csv"
Span = tuple[float, float]
COLUMNS = ("file", "label", "photograph", "split", "left", "top", "right", "bottom")


def prepare(
    root: Path,
    *,
    photographs: int = 40,
    views: int = 6,
    seed: int = 0,
    cells_per_field: str | None = None,
    magnification: str | None = None,
) -> None:
    """Render a set into the folder `root`: JPEG files of 320x240 in train/CLASS and test/CLASS.

    Each class of the task `cell` gets the same number of photographs (one more for the first
    ones where `photographs` is no multiple of 4), and a quarter of each class is test. A file is
    a view of its photograph: turned up to 20 degrees, sheared, shifted, perhaps mirrored,
    brightened, black where nothing is left. The same seed gives the same pixels, and the first
    photographs do not depend on how many there are.

    With `cells_per_field` the files are whole fields of 640x480 instead, in train/fields and
    test/fields, lit by lamps that differ by a fifth. Their white cells touch or are cut by the
    frame, and each is boxed; the label names their classes, as `eosinophil, neutrophil`.

    An earlier synthetic set at `root` is replaced; anything else there is refused and untouched.

    Args:
        root: a folder that is not there yet, is empty, or holds a synthetic set.
        photographs: how many, at least 8 (of each class one to train on and one to test).
        views: files made from each photograph, at least 1.
        seed: at least 0.
        cells_per_field: a number of white cells up to 50, or a range to draw from, as
            `0..50`. As many as find a place are drawn.
        magnification: of fields: a number or a range between .1 and 2; 1 shows a white cell 100
            to 230 pixels wide.

    Raises:
        UsageError: for numbers out of range, or a `root` that holds something else.
        WbczooError: if the set cannot be written.
    """
    for name, value, least in (("photographs", photographs, 8), ("views", views, 1)):
        if value < least:
            raise UsageError(f"A synthetic set needs {name} of at least {least}, not {value}.")
    if seed < 0:
        raise UsageError(f"The seed of a synthetic set is 0 or more, not {seed}.")
    crowds = _range("cells_per_field", cells_per_field, 0, 50) if cells_per_field else None
    sizes = _range("magnification", magnification or "0.5..1", 0.1, 2)
    if magnification and not crowds:
        raise UsageError("magnification is of fields: give cells_per_field, too.")
    root = root.resolve()
    _require_replaceable(root)
    try:
        with _built_aside(root) as folder:
            if crowds:
                _render_fields(folder, photographs, seed, crowds, sizes)
            else:
                _render(folder, photographs, views, seed)
    except OSError as error:
        raise WbczooError(
            f"The synthetic set could not be written to {root}: {error.strerror or error}."
        ) from None


def samples(root: Path) -> list[Sample]:
    """The views or fields of a synthetic set, in a folder or a zip file of one.

    Raises:
        UsageError: if `root` is not there or is no synthetic set.
        WbczooError: if files of the set are missing, or its table is damaged.
    """
    if not root.exists():
        raise UsageError(
            f"{root} is not there; `wbczoo data prepare {root} --dataset synthetic` renders it."
        )
    tree = Tree(root)
    listed = _listed(tree)
    missing = sorted({sample.path for sample in listed}.difference(tree.names))
    if missing:
        raise WbczooError(
            f"{len(missing)} files of the synthetic set {root} are missing: {some(missing)}. "
            "Render it again with the same seed."
        )
    return sorted(listed, key=lambda sample: sample.path)


def _render(folder: Path, photographs: int, views: int, seed: int) -> None:
    import numpy as np

    from wbczoo_datasets.smear import render_photograph, render_view

    rows: list[tuple[str, ...]] = []
    for number in range(photographs):
        turn, which = divmod(number, len(CELL.classes))
        label = CELL.classes[which]
        split = "test" if _is_test(turn) else "train"
        (folder / split / label).mkdir(parents=True, exist_ok=True)
        photograph = render_photograph(label, np.random.default_rng((seed, number)))
        for view in range(views):
            image, box = render_view(photograph, np.random.default_rng((seed, number, view + 1)))
            file = f"{split}/{label}/photograph{number:05}_view{view:03}.jpg"
            image.save(folder / file, quality=92)
            rows.append((file, label, f"{number:05}", split, *map(str, box)))
    _write_table(folder, rows)


def _render_fields(folder: Path, photographs: int, seed: int, crowds: Span, sizes: Span) -> None:
    import numpy as np
    from PIL import Image

    from wbczoo_datasets.fields import render_field

    rows: list[tuple[str, ...]] = []
    few, most = map(round, crowds)
    for number in range(photographs):
        rng = np.random.default_rng((seed, number))
        lamp = tuple(rng.uniform(0.8, 1.2, 3).tolist())
        magnification = float(np.exp(rng.uniform(*np.log(sizes))))
        cells = int(rng.integers(few, most + 1))
        field = render_field(cells, rng, magnification=magnification, lamp=lamp)
        split = "test" if _is_test(number) else "train"
        file = f"{split}/fields/photograph{number:05}.jpg"
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(field.image).save(folder / file, quality=92)
        label = ", ".join(sorted(field.classes))
        boxes = [tuple(str(round(edge)) for edge in box) for box in field.boxes]
        rows += [(file, label, f"{number:05}", split, *box) for box in boxes or [("",) * 4]]
    _write_table(folder, rows)


def _write_table(folder: Path, rows: list[tuple[str, ...]]) -> None:
    with (folder / TABLE).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(sorted(rows))


def _range(name: str, text: str, least: float, most: float) -> Span:
    """The limits of `3` or `0..50`."""
    try:
        low, _, high = text.partition("..")
        found = float(low), float(high or low)
    except ValueError:
        found = (most, least)
    if not least <= found[0] <= found[1] <= most:
        raise UsageError(
            f"{name} is a number from {least:g} to {most:g}, or a range as {least:g}..{most:g}, "
            f"not {text!r}."
        )
    return found


def _is_test(turn: int) -> bool:
    """Whether a class's photograph of this turn is for test: each fourth, from the second on."""
    return turn % 4 == 1


def _listed(tree: Tree) -> list[Sample]:
    """What the set's table says, whether the files are there or not."""
    tables = [name for name in tree.names if name.rpartition("/")[2] == TABLE]
    if len(tables) != 1:
        raise UsageError(
            f"{tree.root} is no synthetic set: expected one {TABLE} in it, found {some(tables)}. "
            "`wbczoo data prepare FOLDER --dataset synthetic` renders a set into a new folder."
        )
    try:
        rows = csv.DictReader(tree.read(tables[0]).decode("utf-8").splitlines())
        files = defaultdict[str, list[dict[str, str]]](list)
        for row in rows:
            files[row["file"]].append(row)
        return [_sample(each, tables[0].removesuffix(TABLE)) for each in files.values()]
    except (ImageRefused, KeyError, TypeError, ValueError, csv.Error):
        raise UsageError(
            f"{tree.root} is no synthetic set, or a damaged one: its {TABLE} is not as "
            "`wbczoo data prepare FOLDER --dataset synthetic` writes it."
        ) from None


def _sample(rows: list[dict[str, str]], above: str) -> Sample:
    """A file by its rows in the table, one for each white cell, or one without a box."""
    row = rows[0]
    boxes = tuple(_box(each) for each in rows if each["left"])
    if row["split"] not in ("train", "test"):
        raise ValueError(row["split"])
    return Sample(
        path=above + row["file"],
        label=row["label"],
        photograph=row["photograph"],
        group=row["photograph"],
        split=cast(Split, row["split"]),
        part="photographs" if "/fields/" in row["file"] else "augmented",
        box=the_only(boxes),
        boxes=boxes,
    )


def _box(row: dict[str, str]) -> Box:
    left, top, right, bottom = (int(row[side]) for side in COLUMNS[4:])
    return left, top, right, bottom


def _require_replaceable(root: Path) -> None:
    """Refuse a root that holds anything but an earlier synthetic set, whole or in part."""
    if root.is_dir():
        theirs = {p.relative_to(root).as_posix() for p in root.rglob("*") if not p.is_dir()}
        try:
            ours = {sample.path for sample in _listed(Tree(root))} | {TABLE} if theirs else set()
        except WbczooError:
            ours = set()
        strange = sorted(theirs - ours)
    else:
        strange = [root.name] if root.exists() else []
    if strange:
        raise UsageError(
            f"{root} holds something else than a synthetic set: {some(strange)}. "
            "Nothing was changed; give a new folder, or move what is there."
        )


@contextmanager
def _built_aside(root: Path) -> Iterator[Path]:
    """Yield an empty folder beside `root` that takes its place at the end, or leaves no trace."""
    root.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
    new, old = work / "new", work / "old"
    try:
        new.mkdir()
        yield new
        if root.exists():
            root.rename(old)
        new.rename(root)
    finally:
        if old.exists() and not root.exists():
            old.rename(root)
        shutil.rmtree(work, ignore_errors=True)


SYNTHETIC = DatasetSpec(
    name="synthetic",
    licence="MIT",
    samples=samples,
    unit="photograph",
    labels=LABELS,
    citation="Rendered by wbczoo; no cell of any person is shown.",
    prepare=prepare,
)
