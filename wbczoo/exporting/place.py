"""Where an export goes: its place is claimed before any work, and taken by one rename after it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from wbczoo.errors import UsageError
from wbczoo.runtime.folder import CARD, FILES


def claim(out: Path, overwrite: bool, is_own: Callable[[str], bool] = FILES.__contains__) -> None:
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


@contextmanager
def put_in_place(out: Path, beside: Path) -> Iterator[Path]:
    """Yield a folder to write to; it takes the place of `out` at the end.

    After an error what was at `out` stands unchanged, and nothing is left over.

    Args:
        beside: a folder of the same file system, whose parent holds what is unfinished.
    """
    beside.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{beside.name}.", dir=beside.parent))
    replaced = aside.with_name(f"{aside.name}.replaced")
    try:
        yield aside
        aside.chmod(0o755)
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.exists():
            # The earlier export is whole at every moment: it moves, and goes when this one stands.
            out.rename(replaced)
        aside.rename(out)
    finally:
        if replaced.exists() and not out.exists():
            replaced.rename(out)
        shutil.rmtree(replaced, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)
