"""A user's table about image files is read here: its names meet those of the files."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from unicodedata import category, normalize

from wbczoo.errors import UsageError

FILE = "file"
_SEPARATORS = ",;\t"


@dataclass(frozen=True)
class Table:
    """What a table says of image files; a name meets a file's whatever way the two are written.

    Slashes of both kinds are one, and so is all that `plain` takes for one; `./` does not count.

    Attributes:
        rows: a file's name -> its row, column -> cell.
    """

    path: Path
    rows: Mapping[str, Mapping[str, str]]

    def find(self, *names: str) -> Mapping[str, str] | None:
        """The row of the first of these names that has one."""
        return next((self.rows[key] for key in map(_key, names) if key in self.rows), None)


def read_table(path: Path, needed: Sequence[str], optional: Sequence[str] = ()) -> Table:
    """Read a table with the column `file` and others; see `read_rows`.

    Raises:
        UsageError: as `read_rows` does, and if the table says two things of one file.
    """
    rows: dict[str, Mapping[str, str]] = {}
    for number, row in read_rows(path, (FILE, *needed), optional):
        key = _key(row.pop(FILE))
        row = {name: plain(cell) for name, cell in row.items()}
        if rows.setdefault(key, row) != row:
            raise UsageError(
                f"{path} says two things of {key}: {_told(rows[key])}, and in line {number} "
                f"{_told(row)}. Keep the right one."
            )
    return Table(path, rows)


def read_rows(
    path: Path, needed: Sequence[str], optional: Sequence[str] = ()
) -> list[tuple[int, dict[str, str]]]:
    """The numbered lines of a CSV file in UTF-8, whatever separates its columns.

    Commas, semicolons and tabs separate; case and blanks of a column's name do not count; empty
    lines and further columns are passed over.

    Args:
        needed: columns, whose cells hold something.
        optional: columns that may be missing, and cells that may be empty.

    Raises:
        UsageError: if the table is not there, or cannot be read; lacks a needed column; or has an
            empty cell or more cells than columns in a line.
    """
    if path.exists() and not path.is_file():
        raise UsageError(f"The table {path} is no ordinary file.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
        lines = _split(text)
    except FileNotFoundError:
        raise UsageError(f"The table {path} is not there.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as CSV in UTF-8: {error}.") from None
    (_, header), *rest = lines or [(1, [""])]
    columns = [plain(name).casefold() for name in header]
    if any(columns.count(name) != 1 for name in needed):
        raise UsageError(
            f"{path} needs the columns {' and '.join(needed)}, each once, and may have "
            f"{', '.join(optional) or 'others'}; its first line is {', '.join(header)!r}."
        )
    rows = []
    for number, cells in rest:
        if any(cells[len(columns) :]):
            raise UsageError(
                f"Line {number} of {path} has {len(cells)} cells, and its first {len(columns)}. "
                "Put names that hold the separator into quotes."
            )
        found = dict(zip(columns, cells, strict=False))
        if empty := [name for name in needed if not found.get(name)]:
            raise UsageError(f"Line {number} of {path} has no {empty[0]}. Fill it in.")
        rows.append((number, {name: found.get(name, "") for name in (*needed, *optional)}))
    return rows


def plain(identifier: str) -> str:
    """An identifier as people see it: blanks of any kind and width are one, and invisible signs
    and the ways to write an accent do not count."""
    seen = "".join(sign for sign in normalize("NFC", identifier) if category(sign) != "Cf")
    return " ".join(seen.split())


def _split(text: str) -> list[tuple[int, list[str]]]:
    """The lines that hold something, each with its number, as cells without blanks around them."""
    # The first line holds names of columns, in which none of the three has a place.
    header = next((line for line in text.splitlines() if line.strip()), "")
    named = header.startswith("sep=")  # a line of Excel's alone, which names the separator
    separator = header[4:5] if named else max(_SEPARATORS, key=header.count)
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator or ",", skipinitialspace=True
    )
    lines = ((reader.line_num, [cell.strip() for cell in row]) for row in reader)
    return [(number, cells) for number, cells in lines if any(cells)][named:]


def _key(name: str) -> str:
    """What all ways to write a file's name have in common."""
    return str(PurePosixPath(plain(name).replace("\\", "/")))


def _told(row: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {cell or '(empty)'}" for name, cell in row.items())
