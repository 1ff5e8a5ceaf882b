"""The runs that answer together as an ensemble: all that lie in one folder."""

from __future__ import annotations

import re
from pathlib import Path

from wbczoo.errors import UsageError
from wbczoo.training.checkpoint import CONFIG, MODEL


def find_members(folder: Path) -> list[Path]:
    """The runs in a folder, by name, where `fold-10` comes after `fold-9`.

    Raises:
        UsageError: if there are fewer than two.
    """
    found = [
        each
        for each in (folder.iterdir() if folder.is_dir() else ())
        if (each / CONFIG).is_file() and (each / MODEL).is_file()
    ]
    if len(found) < 2:
        raise UsageError(
            f"{folder} holds {len(found) or 'no'} {'run' if len(found) == 1 else 'runs'}, and an "
            "ensemble is of two or more. Train into folders of one folder, such as --out "
            f"{folder}/a and --out {folder}/b, or with --fold all."
        )
    # Split at digits, so that words stand at even places and numbers at odd ones.
    return sorted(found, key=lambda each: [*map(_ordered, re.split(r"(\d+)", each.name))])


def _ordered(part: str) -> int | str:
    return int(part) if part.isdigit() else part
