"""A model that a user names is opened here, and images that a user names become rows of answers."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from wbczoo.images.archives.members import Member
from wbczoo.registry.models import resolve
from wbczoo.runtime.batches import BATCH
from wbczoo.runtime.rows import Row
from wbczoo.runtime.session import Session


def predict_paths(
    session: Session,
    paths: Iterable[str | Path | Member],
    *,
    batch_size: int = BATCH,
    workers: int | None = None,
) -> Iterator[Row]:
    """Answer image files and archives' members in their order; few are in memory at a time.

    Yields:
        for each path `{"path": ..., "tasks": {task: {"class": ..., "probability": ...,
        "probabilities": {class: ...}}}}`, or `{"path": ..., "error": reason}` if it was refused.
    """
    asked: deque[str] = deque()  # those whose rows are still to come

    def ask() -> Iterator[str | Path | Member]:
        for path in paths:
            asked.append(str(path))
            yield path

    for answer in session.answers(ask(), batch_size=batch_size, workers=workers):
        yield {"path": asked.popleft(), **answer}


def load(model: str | os.PathLike[str] | None = None, **options: Any) -> Session:
    """Open an exported model, ready to answer.

    Args:
        model: an export's folder, its `model.onnx`, or a published model's name; the first of the
            published ones if None.
        options: `device`, `engine` and whatever else a `Session` takes.

    Raises:
        UsageError, WbczooError: as `Session` does, and for a name that is not published.
    """
    return Session(resolve(model), **options)
