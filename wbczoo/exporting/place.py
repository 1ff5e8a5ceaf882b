"""Where an export goes: its place is claimed before any work, and taken by one rename after it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from wbczoo.errors import UsageError
from wbczoo.runtime.folder import CARD, FILES

Layout = Literal["folder", "triton", "bioimageio", "wsinfer"]

WSINFER = "wsinfer"  # of an export: what QuPath calls a user model directory


def claim(
    out: Path, overwrite: bool, is_own: Callable[[str], bool] = (*FILES, WSINFER).__contains__
) -> None:
    """See that an export may be written to a folder, which need not be there.

    Args:
        is_own: whether a name within an export is one that an export has.

    Raises:
        UsageError: if something lies there, unless it is an export and `overwrite`.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"{out} is a file; --out wants a folder for the export.")
    found = {path.name for path in out.iterdir()}
    if not found:
        return
    if not (out / CARD).is_file():
        raise UsageError(f"{out} is not empty and holds no export. Name a new folder.")
    if strange := sorted(name for name in found if not is_own(name)):
        raise UsageError(
            f"{out} holds something else than an export ({', '.join(strange[:3])}), which must not "
            "be lost. Name another folder."
        )
    if not overwrite:
        raise UsageError(f"{out} already holds an export. Give --overwrite, or name another.")


def claim_file(out: Path, overwrite: bool) -> None:
    """See that a package may be written to a file, which need not be there.

    Raises:
        UsageError: if it is no name of a zip, or something lies there, unless it is a file and
            `overwrite`.
    """
    if out.suffix.lower() != ".zip" or out.is_dir():
        raise UsageError(f"{out} is no name for a package; --out wants a file such as model.zip.")
    if out.exists() and not overwrite:
        raise UsageError(f"{out} is there already. Give --overwrite, or name another.")


@contextmanager
def put_in_place(
    out: Path, beside: Path, pack: Callable[[Path], Path] | None = None
) -> Iterator[Path]:
    """Yield a folder to write to; it takes the place of `out` at the end.

    After an error what was at `out` stands unchanged, and nothing is left over.

    Args:
        beside: a path of the same file system, whose parent holds what is unfinished.
        pack: makes of the folder a file in it, which takes the place instead.
    """
    beside.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{beside.name}.", dir=beside.parent))
    replaced = aside.with_name(f"{aside.name}.replaced")
    try:
        yield aside
        aside.chmod(0o755)
        made = aside if pack is None else pack(aside)
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.exists():
            # The earlier export is whole at every moment: it moves, and goes when this one stands.
            out.rename(replaced)
        made.rename(out)
    finally:
        if replaced.exists() and not out.exists():
            replaced.rename(out)
        if replaced.is_file():
            replaced.unlink()
        shutil.rmtree(replaced, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)
