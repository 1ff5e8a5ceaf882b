"""Images are looked up in a list of hashes here, such as of what a backbone was pretrained on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wbczoo.data.samples import Rows
from wbczoo.errors import UsageError

_LINE = re.compile(r"([0-9a-fA-F]{64})(?:\s.*)?")


def read_hashes(path: Path) -> frozenset[str]:
    """The SHA-256 of files, as `sha256sum` lists them: one begins each line; `#` begins a remark.

    Raises:
        UsageError: if a line begins with none, there is none at all, or it is no text.
    """
    found = set()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as a list of hashes: {error}.") from None
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        matched = _LINE.fullmatch(line.strip())
        if matched is None:
            raise UsageError(
                f"Line {number} of {path} begins with no SHA-256 of 64 signs. Make the list by "
                "sha256sum of the images' files."
            )
        found.add(matched[1].lower())
    if not found:
        raise UsageError(f"{path} holds no hash.")
    return frozenset(found)


def look_up(rows: Rows, sides: Mapping[int, str], hashes: frozenset[str]) -> dict[str, Any]:
    """Which files of each side are listed, by their bytes: a JSON document.

    A file that was saved anew, cropped or resized has other bytes, and is not found.
    """
    listed: dict[str, list[str]] = {}
    for row, side in sides.items():
        if rows.hashes[row] in hashes:
            listed.setdefault(side, []).append(rows.samples[row].path)
    return {
        "hashes": len(hashes),
        "files": dict(Counter(sides.values())),
        "listed": {side: sorted(paths) for side, paths in listed.items()},
        "refused": dict(rows.refused),
    }
