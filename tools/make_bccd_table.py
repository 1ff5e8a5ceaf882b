"""The two measured tables of the BCCD archive become the compact ones that ship with the package.

    python tools/make_bccd_table.py ../shared/data plugins/wbczoo_datasets

reads bccd-photographs.csv and bccd-augmented-to-photograph.csv, and writes
bccd_photographs.csv (photograph, label, split, group) and bccd_augmented.csv (file, photograph).
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from wbczoo import files


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
    write(
        target / "bccd_photographs.csv",
        ("photograph", "label", "split", "group"),
        (
            (row["source_id"], row["label_raw"], row["official_split"], row["overlap_group"])
            for row in sorted(photographs, key=lambda row: int(row["source_id"]))
        ),
    )
    write(
        target / "bccd_augmented.csv",
        ("file", "photograph"),
        sorted((row["file"].removeprefix("images/"), row["source_id"]) for row in augmented),
    )


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
