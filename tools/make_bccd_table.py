"""The two measured tables of the BCCD archive become the compact ones that ship with the package.

    python tools/make_bccd_table.py ../shared/data plugins/wbczoo_datasets

reads bccd-photographs.csv and bccd-augmented-to-photograph.csv, and writes
bccd_photographs.csv (photograph, label, split, groups_1, groups_2) and bccd_augmented.csv (file,
photograph). The first groups are those of the measured table; the second ones have the twelve pairs
too that docs/dataset-audit.md found later, and are called by their lowest number.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from wbczoo import files

FOUND_LATER = (
    ("224", "264"), ("400", "377"), ("408", "365"), ("226", "261"), ("229", "258"), ("233", "254"),
    ("19", "20"), ("160", "161"), ("239", "240"), ("44", "45"), ("40", "41"), ("207", "279"),
)  # fmt: skip


def make_tables(source: Path, target: Path) -> None:
    """Read the measured tables in `source` and write the compact ones into `target`.

    Raises:
        ValueError: if a row contradicts another, so that a table would say what nobody measured.
    """
    photographs = read(source / "bccd-photographs.csv")
    augmented = read(source / "bccd-augmented-to-photograph.csv")
    by_id = {row["source_id"]: row for row in photographs}
    for row in photographs:
        if row["file"] != f"BloodImage_{int(row['source_id']):05}.jpg":
            raise ValueError(f"photograph {row['source_id']} is not the file {row['file']}")
    for row in augmented:
        _, folder, label, _ = row["file"].split("/")
        source_row = by_id[row["source_id"]]
        split = "train" if folder == "TRAIN" else "test"
        if (label, split) != (source_row["label4"], source_row["official_split"]):
            raise ValueError(f"{row['file']} contradicts photograph {row['source_id']}")
    groups = {number: by_id[number]["overlap_group"] for number in sorted(by_id, key=int)}
    write(
        target / "bccd_photographs.csv",
        ("photograph", "label", "split", "groups_1", "groups_2"),
        (
            (number, by_id[number]["label_raw"], by_id[number]["official_split"], first, second)
            for (number, first), second in zip(groups.items(), join(groups).values(), strict=True)
        ),
    )
    write(
        target / "bccd_augmented.csv",
        ("file", "photograph"),
        sorted((row["file"].removeprefix("images/"), row["source_id"]) for row in augmented),
    )


def join(groups: Mapping[str, str]) -> dict[str, str]:
    """Photograph -> group, with the photographs that were found to overlap later in one."""
    joined = dict(groups)
    for pair in FOUND_LATER:
        old = {joined[number] for number in pair}
        joined |= {n: min(old, key=int) for n, group in joined.items() if group in old}
    return joined


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def write(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a CSV file with Unix line ends, aside and renamed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    files.write_text(path, text.getvalue())


if __name__ == "__main__":
    make_tables(Path(sys.argv[1]), Path(sys.argv[2]))
