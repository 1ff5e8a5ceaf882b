"""Where a model lies that a user names: a path, a published model, or an export on a hub."""

from __future__ import annotations

import os
from pathlib import Path

from wbczoo.runtime.published import find_published, published

HUB = "hf://"


def resolve(model: str | os.PathLike[str] | None) -> Path:
    """The place of a model that a user names.

    Args:
        model: a path, or a published model's name; the first of the published ones if None.
            `hf://OWNER/NAME`, with or without `@REVISION`, is fetched from the hub once for each
            commit, checked as `pull` does, and kept in the cache.

    Raises:
        NotHeld, UsageError, WbczooError: of what is on a hub as `pull` does.
        UsageError: if it is neither a path that is there nor a published model.
        WbczooError: if none is named and there is no published model.
    """
    if model is None:
        return published().default
    named = os.fspath(model)
    if named.startswith(HUB):
        from wbczoo.runtime.hub import keep

        return keep(named.removeprefix(HUB))
    return Path(named) if Path(named).exists() else find_published(named)
