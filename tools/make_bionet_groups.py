"""Fields of Bio-Net that show one cell become the second version of its groups.

    python tools/make_bionet_groups.py ../shared/data/bionet-sample.zip \
        plugins/wbczoo_datasets/bionet.csv

compares each field with each other one, as it is and mirrored, as `wbczoo data audit` compares
two files; joins the pairs that an audit would confirm with the first groups; and writes the table
anew with the column groups_2. A group is called by the lowest of the first groups in it. Prints
how many pairs have how many keypoints that one map explains.
"""

from __future__ import annotations

import csv
import io
import sys
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path, PurePosixPath

import click
from threadpoolctl import threadpool_limits

from wbczoo import files
from wbczoo.audit.cache import read_keypoints
from wbczoo.audit.keypoints import Keypoints, compare
from wbczoo.audit.search import FEWEST_INLIERS
from wbczoo.data.prepared import readers
from wbczoo.data.samples import read_rows
from wbczoo.registry import datasets

FEW = 4  # inliers; any three points fit a map


def make_groups(archive: Path, table: Path) -> None:
    """Find the groups of the fields in `archive` and write them into `table`.

    Raises:
        ValueError: if a field cannot be read.
    """
    keypoints = read_fields(archive)
    counts: Counter[int] = Counter()
    pairs = []
    with threadpool_limits(1), ThreadPoolExecutor() as pool:
        for one, other, inliers in pool.map(
            lambda pair: most_inliers(keypoints, *pair), combinations(sorted(keypoints), 2)
        ):
            counts[inliers] += 1
            if inliers >= FEWEST_INLIERS:
                pairs.append((one, other))
    few = sum(count for inliers, count in counts.items() if inliers <= FEW)
    click.echo(f"{sum(counts.values())} pairs of fields; {few} have {FEW} inliers or fewer")
    for inliers in sorted(inliers for inliers in counts if FEW < inliers < 2 * FEWEST_INLIERS):
        click.echo(f"{counts[inliers]} have {inliers}")
    click.echo(f"{len(pairs)} have {FEWEST_INLIERS} or more")
    write(table, pairs)


def read_fields(archive: Path) -> dict[str, Keypoints]:
    """File name without suffix -> the keypoints that an audit has of it."""
    rows = read_rows(datasets.spec("bionet"), archive)
    with ThreadPoolExecutor() as pool:
        known = read_keypoints(readers(rows, range(len(rows))), pool=pool)
    keypoints = {}
    for sample, digest in zip(rows.samples, rows.hashes, strict=True):
        found = known[digest]
        if isinstance(found, str):
            raise ValueError(f"{sample.path} in {archive} cannot be read: {found}")
        keypoints[PurePosixPath(sample.path).stem] = found
    return keypoints


def most_inliers(keypoints: Mapping[str, Keypoints], one: str, other: str) -> tuple[str, str, int]:
    """The inliers of two fields, of one as it is or mirrored."""
    matches = (
        compare(keypoints[one], keypoints[other], mirrored=mirrored) for mirrored in (False, True)
    )
    return one, other, max(match.inliers for match in matches)


def write(path: Path, pairs: list[tuple[str, str]]) -> None:
    """Write the table's column groups_2: its groups_1, and the pairs, joined."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    joined = {row["file"]: row["groups_1"] for row in rows}
    for one, other in pairs:
        old = {joined[one], joined[other]}
        joined |= {file: min(old, key=int) for file, group in joined.items() if group in old}
    click.echo(f"{len({row['groups_1'] for row in rows})} groups became {len({*joined.values()})}")
    text = io.StringIO()
    sides = ("left", "top", "right", "bottom")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file", "groups_1", "groups_2", *sides))
    for row in rows:
        first, second = row["groups_1"], joined[row["file"]]
        writer.writerow((row["file"], first, second, *(row[side] for side in sides)))
    files.write_text(path, text.getvalue())


if __name__ == "__main__":
    make_groups(Path(sys.argv[1]), Path(sys.argv[2]))
