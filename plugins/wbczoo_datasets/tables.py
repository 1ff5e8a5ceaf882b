"""A user's tables say here what is known of each image: its labels, and what it is of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from wbczoo.errors import UsageError, some
from wbczoo.images.tables import Table, read_table, say

ORIGINS = ("photograph", "slide", "patient")
_KNOWN = (*ORIGINS, "group", "split", "laboratory")
_NESTED = (
    ("photograph", "group"),
    ("photograph", "slide"),
    ("photograph", "patient"),
    ("slide", "patient"),
)

Row = Mapping[str, str]


def read_origins(path: Path, root: Path, names: Sequence[str], top: str) -> dict[str, Row]:
    """Image -> its `photograph`, `slide`, `patient` and `group`, "" where a table has none.

    Args:
        path: of a table with `file` and `photograph`, `slide` or `patient`, and maybe `group`.
        root, names: the data, and the images in it.
        top: the folder around everything, with its `/`, or "".

    Raises:
        UsageError: for a table that cannot be read, or that puts one thing into two.
    """
    table = read_table(
        path,
        [ORIGINS],
        ["group"],
        cure="Rename the column that tells what an image is of, or say --each-file-a-photograph "
        f"instead. A table of labels is given by --labels {path}.",
    )
    _require_nested(table)
    return table.match(names, _roots(root, top))[0]


def read_labels(path: Path, root: Path, names: Sequence[str], top: str) -> dict[str, Row]:
    """Image -> its `label`, what `read_origins` gives, `split` and `laboratory`.

    Further columns are labels for the tasks of their names. What the table and the data do not
    have of each other is said.

    Raises:
        UsageError: as `read_origins` does; and if the table has no label, or no image is in it.
    """
    table = read_table(path, [], ["label", *_KNOWN], further=True)
    if not any(row["label"] for row in table.rows.values()):
        raise UsageError(
            f"{path} needs the columns file and label, and may have {', '.join(_KNOWN)} and others "
            "with the names of tasks; it labels no file. Rename the column of the classes to "
            "label. A table that only tells what an image is of is given by --photograph-from "
            f"{path}."
        )
    _require_nested(table)
    if slash := [r["laboratory"] for r in table.rows.values() if "/" in r["laboratory"]]:
        raise UsageError(f"{path} has the laboratory {slash[0]!r}; its name must hold no slash.")
    found, strange = table.match(names, _roots(root, top))
    if not found:
        raise UsageError(
            f"{path} has a row for none of the {len(names)} images in {root}: it names "
            f"{some(table.rows, 2)}, and there are {some(names, 2)}. Write each path as it is "
            f"below {root}."
        )
    for told, what in (
        (strange, f"rows of {path} are of no image in {root}"),
        ([name for name in names if name not in found], f"images in {root} have no row in {path}"),
        *(
            ([name for name, row in found.items() if not row[column]], f"images have no {column}")
            for column in ("label", *ORIGINS)
            if any(row[column] for row in found.values())
        ),
    ):
        if told:
            say(f"{len(told)} {what}: {some(told)}")
    return found


def task_labels(row: Row) -> dict[str, str]:
    """Column -> label, of the columns that are for the tasks of their names."""
    return {name: cell for name, cell in row.items() if name not in ("label", *_KNOWN)}


def _roots(root: Path, top: str) -> list[str]:
    return [*dict.fromkeys(["", top, f"{root.resolve().name}/"])]


def _require_nested(table: Table) -> None:
    rows: Iterable[Row] = table.rows.values()
    for inner, outer in _NESTED:
        outer_of: dict[str, str] = {}
        for row in rows:
            name, whole = row[inner], row[outer]
            if name and outer_of.setdefault(name, whole) != whole:
                told = " and ".join(each or "(empty)" for each in (outer_of[name], whole))
                raise UsageError(
                    f"{table.path} puts the {inner} {name} into two {outer}s, {told}; a {inner} "
                    f"stays whole. Where there are two of that name, write them as {outer}-{inner}."
                )
