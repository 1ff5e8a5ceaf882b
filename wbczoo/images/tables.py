"""A user's table about image files is read here: its names meet those of the files."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from unicodedata import category, normalize

from wbczoo.errors import UsageError

FILE = "file"
_SEPARATORS = ",;\t"

Needed = Sequence[str | tuple[str, ...]]  # a column, or several of which one will do


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

    def match(
        self, names: Sequence[str], roots: Sequence[str] = ("",)
    ) -> tuple[dict[str, Mapping[str, str]], list[str]]:
        """Each file's row: by its path, else by its name where only one file and one row have it.

        Args:
            names: the files that there are.
            roots: what a path may begin with, in a file's name or in a row's, and the other not.

        Returns:
            file -> row, for those that have one; and the rows' names that are no file's.

        Raises:
            UsageError: if two rows say different things of one file.
        """
        found: dict[str, str] = {}
        for name in names:
            keys = [_key(name.removeprefix(root)) for root in roots]
            keys += [_key(root + name) for root in roots]
            said = list(dict.fromkeys(key for key in keys if key in self.rows))
            if any(self.rows[key] != self.rows[said[0]] for key in said[1:]):
                raise UsageError(
                    f"{self.path} says two things of {name}: as {' and as '.join(said)}. Keep the "
                    "right row."
                )
            if said:
                found[name] = said[0]
        used = {*found.values()}
        unused = [key for key in self.rows if key not in used]
        rows, files = Counter(map(_last, unused)), Counter(_last(_key(name)) for name in names)
        by_name = {_last(key): key for key in unused}
        for name in names:
            last = _last(_key(name))
            if name not in found and rows[last] == files[last] == 1:
                found[name] = by_name[last]
        used = {*found.values()}
        told = {name: self.rows[key] for name, key in found.items()}
        return told, [key for key in unused if key not in used]


def read_table(
    path: Path,
    needed: Needed,
    optional: Sequence[str] = (),
    *,
    further: bool = False,
    cure: str = "",
) -> Table:
    """Read a table with the column `file` and others; see `read_rows`.

    Raises:
        UsageError: as `read_rows` does, and if the table says two things of one file.
    """
    rows: dict[str, Mapping[str, str]] = {}
    for number, row in read_rows(path, (FILE, *needed), optional, further=further, cure=cure):
        key = _key(row.pop(FILE))
        row = {name: plain(cell) for name, cell in row.items()}
        if rows.setdefault(key, row) != row:
            first = rows[key]
            differ = [name for name in row if row[name] != first[name]]
            raise UsageError(
                f"{path} says two things of {key}: {_told(first, differ)}, and in line {number} "
                f"{_told(row, differ)}. Keep the right one."
            )
    return Table(path, rows)


def read_rows(
    path: Path,
    needed: Needed,
    optional: Sequence[str] = (),
    *,
    further: bool = False,
    cure: str = "",
) -> list[tuple[int, dict[str, str]]]:
    """The numbered lines of a CSV file in UTF-8, whatever separates its columns.

    Commas, semicolons and tabs separate; case and blanks of a column's name do not count; empty
    lines are passed over.

    Args:
        needed: columns, whose cells hold something; of several that will do, the first there is.
        optional: columns that may be missing, and cells that may be empty.
        further: whether further columns are taken too; they may be empty.
        cure: what to do where a needed column is lacking, as a sentence.

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
    choices = [(name,) if isinstance(name, str) else name for name in needed]
    filled = [next((n for n in choice if n in columns), choice[0]) for choice in choices]
    taken = list(dict.fromkeys([*(name for choice in choices for name in choice), *optional]))
    taken += [name for name in dict.fromkeys(columns) if further and name not in taken if name]
    if any(name not in columns for name in filled) or any(columns.count(n) > 1 for n in taken):
        raise UsageError(
            f"{path} needs the columns {' and '.join(map(' or '.join, choices))}, each once, and "
            f"may have {', '.join(optional) or 'others'}; its first line is {', '.join(header)!r}. "
            f"{cure or 'Rename the columns that hold them, or add them.'}"
        )
    rows = []
    for number, cells in rest:
        if any(cells[len(columns) :]):
            raise UsageError(
                f"Line {number} of {path} has {len(cells)} cells, and its first {len(columns)}. "
                "Put names that hold the separator into quotes."
            )
        found = dict(zip(columns, cells, strict=False))
        if empty := [name for name in filled if not found.get(name)]:
            raise UsageError(f"Line {number} of {path} has no {empty[0]}. Fill it in.")
        rows.append((number, {name: found.get(name, "") for name in taken}))
    return rows


def say(sentence: str) -> None:
    """Tell a user what is odd about a table that serves all the same."""
    from wbczoo.progress import tell  # here, for a data set's spec is loaded without a bar

    tell(sentence)


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


def _last(key: str) -> str:
    return PurePosixPath(key).name


def _told(row: Mapping[str, str], columns: Sequence[str]) -> str:
    return ", ".join(f"{name} {row[name] or '(empty)'}" for name in columns)
