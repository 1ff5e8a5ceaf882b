"""What is an export already, as a published model, is laid out anew here, byte for byte."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from wbczoo import files
from wbczoo.errors import WbczooError
from wbczoo.exporting import bioimageio, place, triton
from wbczoo.runtime.folder import CARD, FILES, find_model, folder_of
from wbczoo.runtime.named import resolve
from wbczoo.runtime.session import Session
from wbczoo.runtime.verify import verify
from wbczoo.training import checkpoint


def find_export(path: str | os.PathLike[str]) -> Path | None:
    """The folder of an export by its path, its published name or its address; None of a run.

    Raises:
        UsageError, WbczooError: as `resolve` does.
    """
    folder = resolve(path)
    is_run = (folder / checkpoint.CONFIG).is_file()
    return folder if not is_run and (folder / CARD).is_file() else None


def lay_out_again(
    folder: Path, out: Path, *, layout: place.Layout, overwrite: bool
) -> dict[str, Any]:
    """Copy an export that answers as its card says.

    Args:
        folder: of the export.
        out: a new folder, a model repository or a file, as `export` takes it for the layout.

    Returns:
        what `card.json` holds.

    Raises:
        UsageError: if `out` is taken.
        WbczooError: if the export is damaged.
    """
    model = find_model(folder)
    replayed = verify(folder, device="cpu")
    if not replayed.ok:
        raise WbczooError(f"{folder} is damaged. {' '.join(replayed.problems)}")
    document: dict[str, Any] = files.read_json(folder_of(model) / CARD)
    target, pack = out, None
    if layout == "triton":
        target = triton.claim(out, document["name"], overwrite)
    elif layout == "bioimageio":
        place.claim_file(out, overwrite)
        pack = bioimageio.pack
    else:
        place.claim(out, overwrite)
    with place.put_in_place(target, beside=out, pack=pack) as aside:
        for name in FILES:
            source = model if name == model.name else folder_of(model) / name
            if source.is_file():
                shutil.copyfile(source, aside / name)
        if layout == "triton":
            triton.arrange(aside, Session(model, device="cpu").tasks)
    return document
