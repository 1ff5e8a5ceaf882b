"""A checkpoint of any training becomes a file of tensors here that `--weights` takes."""

from __future__ import annotations

import os
import pickle
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wbczoo import files
from wbczoo.errors import UsageError, WbczooError
from wbczoo.text import first_line

if TYPE_CHECKING:
    from torch import Tensor

# Where trainings keep the tensors of their model, the likeliest first.
_INSIDE = ("state_dict", "model_state_dict", "model", "net", "network", "student", "teacher")

_SHOWN = 8


def convert_weights(
    checkpoint: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    strip: Sequence[str] = (),
    drop: Sequence[str] = (),
    overwrite: bool = False,
) -> dict[str, tuple[int, ...]]:
    """Write a checkpoint's tensors as safetensors, under the names that a backbone has.

    Args:
        checkpoint: what `torch.save` wrote, or safetensors. Of the former only tensors and plain
            values are read (`weights_only=True`), so that nothing in it is run.
        out: the new file, ending in `.safetensors`.
        strip: prefixes that are taken off the names that begin with them, the longest first.
        drop: prefixes of names that are left out, as they are after that.

    Returns:
        each tensor's name and shape.

    Raises:
        UsageError: if there is no such file, `out` is taken, a prefix begins no name, or two
            tensors would have one name.
        WbczooError: if the file cannot be read, or holds more than tensors and plain values.
    """
    from safetensors.torch import save_file

    source, target = Path(checkpoint), Path(out)
    if target.suffix != ".safetensors":
        raise UsageError(f"{target} must end in .safetensors, by which --weights knows the file.")
    if target.exists() and not overwrite:
        raise UsageError(f"{target} is there already. Give --overwrite, or name another file.")
    given = _tensors(source)
    renamed = {}
    for name in given:
        longest = max((p for p in strip if name.startswith(p)), key=len, default="")
        renamed[name] = name.removeprefix(longest)
    for prefixes, names in ((strip, given.keys()), (drop, renamed.values())):
        for prefix in prefixes:
            if not any(name.startswith(prefix) for name in names):
                raise UsageError(
                    f"No tensor in {source} has a name that begins with {prefix!r}. Names begin "
                    f"with: {_beginnings(names)}"
                )
    kept: dict[str, Tensor] = {}
    for name, tensor in given.items():
        if (short := renamed[name]).startswith(tuple(drop)):
            continue
        if short in kept:
            raise UsageError(f"Two tensors would be called {short}. Leave one out by --drop.")
        kept[short] = tensor.detach().cpu().contiguous().clone()
    if not kept:
        raise UsageError(f"Nothing is left of {source}: every name is dropped. Drop fewer.")
    with files.written_aside(target) as aside:
        save_file(kept, aside, {"format": "pt", "weights": source.name})
    return {name: tuple(tensor.shape) for name, tensor in kept.items()}


def suggest_conversion(file: Path, own: Iterable[str], given: Iterable[str]) -> str:
    """The command that gives a file's tensors the names that a backbone has, if one is seen.

    Args:
        own: names that the backbone has.
        given: names that the file has.
    """
    wanted, names = {*own}, [*given]
    prefixes = Counter(
        name[: -len(end)]
        for name in names
        for end in (name.partition(".")[2], ".".join(name.split(".")[2:]),
                    ".".join(name.split(".")[3:]))
        if end in wanted
    )  # fmt: skip
    strip = next((p for p, count in prefixes.most_common(1) if 2 * count >= len(wanted)), "")
    if not strip:
        return ""
    rest = [name.removeprefix(strip) for name in names]
    strange = dict.fromkeys(f"{name.partition('.')[0]}." for name in rest if name not in wanted)
    out = file.with_name(f"{file.stem}-backbone.safetensors").name
    words = [f"--strip {strip}", *(f"--drop {prefix}" for prefix in strange)]
    return (
        f" Its names begin with {strip!r}: wbczoo weights convert {file} {' '.join(words)} "
        f"--out {out}"
    )


def _tensors(path: Path) -> dict[str, Tensor]:
    """What tensors a file has, by name."""
    import torch
    from safetensors.torch import load_file

    if not path.is_file():
        raise UsageError(f"There is no file {path}. Name the checkpoint that a training left.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WbczooError(
            f"{path} holds more than tensors and plain values, and is not read, for that may run "
            f"code ({first_line(error)}). Where it was made, save the tensors alone: "
            "torch.save(model.state_dict(), FILE)."
        ) from None
    except Exception as error:  # of a damaged file torch makes a dozen exceptions
        raise WbczooError(f"{path} cannot be read: {first_line(error)}.") from None
    return _inside(path, found)


def _inside(path: Path, found: Any) -> dict[str, Tensor]:
    """A state dict, or the one within a checkpoint of more."""
    if tensors := _as_tensors(found):
        return tensors
    held = found if isinstance(found, Mapping) else {}
    within = {str(key): tensors for key, each in held.items() if (tensors := _as_tensors(each))}
    for key in (*_INSIDE, *(within if len(within) == 1 else ())):
        if key in within:
            return within[key]
    told = f"; it has {', '.join(map(str, list(held)[:_SHOWN]))}" if held else ""
    raise WbczooError(
        f"{path} holds no tensors by name{told}. Save them alone: torch.save(model.state_dict(), "
        "FILE)."
    )


def _as_tensors(found: Any) -> dict[str, Tensor]:
    """The tensors of a mapping that holds nothing else, else none."""
    import torch

    if not isinstance(found, Mapping):
        return {}
    tensors = {key: each for key, each in found.items() if isinstance(each, torch.Tensor)}
    whole = len(tensors) == len(found) and all(isinstance(key, str) for key in tensors)
    return tensors if whole else {}


def _beginnings(names: Iterable[str]) -> str:
    """What names begin with, up to their first and second point."""
    ends = [name.split(".") for name in names]
    counted = Counter(f"{'.'.join(end[:n])}." for end in ends for n in (1, 2) if len(end) > n)
    return ", ".join(prefix for prefix, _ in counted.most_common(_SHOWN)) or "nothing with a point"
