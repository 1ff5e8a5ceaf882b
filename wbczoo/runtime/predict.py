"""Files, folders and patterns on a command line become rows of answers, in order, as they come."""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from wbczoo.errors import UsageError, WbczooError
from wbczoo.images import SUFFIXES
from wbczoo.runtime.rows import Row
from wbczoo.runtime.session import Session


def find_images(paths: Sequence[str]) -> list[str]:
    """List the images that a user means.

    Args:
        paths: files, taken whatever their suffix; folders, whose image files are taken, sorted,
            from all folders within that are neither hidden nor links; and patterns with `*`, `?`,
            `[...]` or `**` that the shell did not expand, which stand for the files and folders
            that match, sorted. A name that exists is no pattern.

    Returns:
        the files as they were given; a folder's with the folder as it was given before them.

    Raises:
        UsageError: if a path does not exist, or a folder or pattern yields no image.
        WbczooError: if a folder cannot be read.
    """
    if not paths:
        raise UsageError("No image was given. Name a file, a folder or a pattern.")
    return [found for path in paths for found in _expand(path)]


def predict_paths(
    session: Session, paths: Iterable[str], *, batch_size: int = 16, workers: int | None = None
) -> Iterator[Row]:
    """Answer image files in their order; however many there are, a few batches are in memory.

    Yields:
        for each path `{"path": ..., "tasks": {task: {"class": ..., "probability": ...,
        "probabilities": {class: ...}}}}`, or `{"path": ..., "error": reason}` if it was refused.
    """
    named, read = itertools.tee(paths)
    for answer in session.answers(read, batch_size=batch_size, workers=workers):
        yield {"path": next(named), **answer}


def _expand(path: str) -> Iterable[str]:
    if not path:
        raise UsageError("An image's name is empty. Name a file, a folder or a pattern.")
    if Path(path).is_dir():
        found = _walk(path)
        if not found:
            raise UsageError(
                f"The folder {path} holds no image; looked for {', '.join(sorted(SUFFIXES))}."
            )
        return found
    if Path(path).exists():
        return [path]
    if not glob.has_magic(path):
        raise UsageError(f"{path} is not there.")
    # As a shell would have it, matching folders are folders that were given; with `**` a file is
    # then met more than once.
    matches = sorted(glob.glob(path, recursive=True))  # noqa: PTH207 - keeps paths as given
    found = list(
        dict.fromkeys(
            image
            for match in matches
            for image in (_walk(match) if Path(match).is_dir() else [match])
        )
    )
    if not found:
        raise UsageError(f"The pattern {path} matches no image.")
    return found


def _walk(folder: str) -> list[str]:
    """The image files below a folder, sorted; strings, for pathlib would rewrite what was given."""

    def fail(error: OSError) -> NoReturn:
        raise WbczooError(f"The folder {error.filename} cannot be read: {error.strerror}.")

    found = []
    for parent, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                found.append(os.path.join(parent, name))  # noqa: PTH118
    return sorted(found)
