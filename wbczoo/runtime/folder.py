"""An export's folder is found here: what it holds, and where its graph and its card lie in it."""

from __future__ import annotations

import os
from pathlib import Path

from wbczoo.errors import UsageError

MODEL = "model.onnx"
CARD = "card.json"
EXAMPLE = "example.npz"
_OF_RUN = "model.safetensors"
FILES = (MODEL, CARD, "card.md", EXAMPLE)

# A model of a Triton repository has the graph in the folder of its version, and the rest above.
CONFIG = "config.pbtxt"
VERSION = "1"


def find_model(path: str | os.PathLike[str]) -> Path:
    """The `model.onnx` of an export's folder, or the file itself.

    Args:
        path: an export's folder, a model's folder in a Triton repository, or a file.

    Raises:
        UsageError: if it is not there.
    """
    found = Path(path)
    if found.is_dir():
        of_triton = (found / CONFIG).is_file() and not (found / MODEL).exists()
        found = found / VERSION / MODEL if of_triton else found / MODEL
    if not found.is_file():
        cure = export_first(Path(path)) or f"Give an export's folder, or its {MODEL}."
        raise UsageError(f"{found} is not there. {cure}")
    return found


def export_first(given: Path) -> str:
    """What to type for a folder that is a run or holds the runs of several folds, else nothing."""
    folds = any(given.glob(f"fold-*/{_OF_RUN}"))
    if not folds and not (given / _OF_RUN).is_file():
        return ""
    what, option = ("a folder of folds' runs", " --fold 0") if folds else ("a run", "")
    out = f"exports/{given.resolve().name}"
    return (
        f"{given} is {what}, which is exported first: wbczoo export {given}{option} --out {out}. "
        f"Then give {out}."
    )


def folder_of(model: Path) -> Path:
    """The folder that a graph's card and example belong in; they need not be there.

    It is the graph's own, or the one above if that is a model of a Triton repository.
    """
    version = model.absolute().parent
    if version.name != VERSION or not (version.parent / CONFIG).is_file():
        return model.parent
    # Somebody may have laid a whole export into the folder of the version.
    return model.parent if (version / CARD).exists() else version.parent
