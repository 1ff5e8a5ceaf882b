"""How wide red cells are measured in data sets whose microscope stayed the same.

    python tools/measure_ruler.py bccd=blood-cells.zip raabin=raabin-sample.zip

prints for each set in how many fields no red cell is measured, the usual width of each group of
fields of which there are five or more (Raabin's groups are slides; the other sets are one group),
by how much the fields of a group differ from it, and how wide the boxed white cells are.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import click
import numpy as np
from tabulate import tabulate

from wbczoo.bench.fields import read_fields
from wbczoo.cells import find

SHARES = (1, 5, 50, 95, 99)  # per cent


def measure(name: str, path: Path) -> list[str]:
    """A row of the table."""
    widths: dict[str, list[float]] = defaultdict(list)
    white, silent = [], 0
    fields = read_fields(name, path).boxed
    for field in fields:
        found = find(field.read())
        if not found or not (red := found[0].red_cell):
            silent += 1
            continue
        widths[str(field.group) if name == "raabin" else name].append(red)
        white += [max(right - left, low - top) / red for left, top, right, low in field.boxes]
    groups = [np.array(some) for some in widths.values() if len(some) >= 5]
    usual = [float(np.median(some)) for some in groups]
    spread = np.concatenate([some / middle for some, middle in zip(groups, usual, strict=True)])
    columns = [
        " ".join(f"{share:.2f}" for share in np.percentile(values, SHARES))
        for values in (spread, white)
    ]
    return [name, f"{len(fields)} / {silent}", f"{min(usual):.0f} to {max(usual):.0f}", *columns]


def main() -> None:
    named = [argument.split("=", 1) for argument in sys.argv[1:]]
    rows = [measure(name, Path(path)) for name, path in named]
    shares = "1 5 50 95 99 %"
    head = ["set", "fields / none", "pixels", f"field / group, {shares}", f"white / red, {shares}"]
    click.echo(tabulate(rows, head, "pipe"))


if __name__ == "__main__":
    main()
