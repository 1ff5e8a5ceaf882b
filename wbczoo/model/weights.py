"""Initial weights are found here (a folder, a file, the hub, or none) and loaded strictly."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wbczoo import files
from wbczoo.config import ModelConfig, WeightsOrigin
from wbczoo.errors import UsageError, WbczooError
from wbczoo.model.convert import suggest_conversion
from wbczoo.specs import BackboneSpec, Preprocessing
from wbczoo.text import first_line

if TYPE_CHECKING:
    from torch import Tensor, nn

PRETRAINED = "pretrained"

_SHOWN_KEYS = 5


@dataclass(frozen=True)
class InitialWeights:
    """What was found: a file's tensors and metadata, the hub's promise, or nothing."""

    origin: WeightsOrigin = field(default_factory=WeightsOrigin)
    file: Path | None = None
    tensors: dict[str, Tensor] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def from_plugin(self) -> bool:
        """Whether the plugin must bring them while it builds."""
        return self.origin.source in ("hub", PRETRAINED)


def find(backbone: str, choice: str) -> InitialWeights:
    """Find a backbone's initial weights.

    Args:
        backbone: the part's name.
        choice: `none`; `imagenet`, which is `<backbone>.safetensors` in the folder
            `$WBCZOO_WEIGHTS` if it is there, else the hub; `pretrained`, which is whatever the
            plugin itself calls so; or the path of a safetensors file.

    Raises:
        UsageError: if the file is not there or is of a kind that wbczoo does not read, or if
            there is no backbone to load it.
        WbczooError: if the file cannot be read.
    """
    if choice == "none":
        return InitialWeights()
    if backbone == "none":
        if choice == "imagenet":
            return InitialWeights()
        raise UsageError(f"{choice} is for a backbone, and none was chosen; leave out --weights.")
    if choice == PRETRAINED:
        return InitialWeights(WeightsOrigin(source=PRETRAINED))
    if choice != "imagenet":
        return _read(Path(choice))
    folder = os.environ.get("WBCZOO_WEIGHTS")
    if folder:
        path = Path(folder) / f"{backbone}.safetensors"
        if path.is_file():
            return _read(path)
    return InitialWeights(WeightsOrigin(source="hub", description="the plugin's own"))


def load(module: nn.Module, found: InitialWeights, spec: BackboneSpec) -> None:
    """Load a file's tensors into a backbone: less its classifier, as float32, strictly.

    Raises:
        WbczooError: if keys are missing or strange or shapes differ; the sentence names the file
            and the first of them.
    """
    if found.file is None:
        return
    own = module.state_dict()
    tensors = {
        key: tensor.to(own[key].dtype) if key in own else tensor
        for key, tensor in found.tensors.items()
        if key in own or not key.startswith(spec.classifier_keys or ("\0",))
    }
    missing = sorted(own.keys() - tensors.keys())
    strange = sorted(tensors.keys() - own.keys())
    shapes = sorted(
        f"{key} is {tuple(tensors[key].shape)}, not {tuple(own[key].shape)}"
        for key in own.keys() & tensors.keys()
        if own[key].shape != tensors[key].shape
    )
    if missing or strange or shapes:
        findings = [
            f"{word}: {', '.join(keys[:_SHOWN_KEYS])}"
            + (f" and {len(keys) - _SHOWN_KEYS} more" if len(keys) > _SHOWN_KEYS else "")
            for word, keys in (("missing", missing), ("strange", strange), ("shapes", shapes))
            if keys
        ]
        architecture = found.metadata.get("architecture")
        says = f" It says that it is for {architecture}." if architecture else ""
        raise WbczooError(
            f"{found.file} does not fit the backbone {spec.name!r}. {'; '.join(findings)}.{says} "
            "Give the weights of this backbone, or choose the backbone of these weights."
            + suggest_conversion(found.file, own, found.tensors)
        )
    module.load_state_dict(tensors, strict=True)


def digest_of(state: Mapping[str, Tensor]) -> str:
    """The SHA-256 of a module's state, wherever it lies."""
    import torch

    found = hashlib.sha256()
    for name, tensor in state.items():
        found.update(name.encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        found.update(flat.view(torch.uint8).numpy().data)
    return found.hexdigest()


def origin_of(config: ModelConfig, backbone: nn.Module, found: InitialWeights) -> WeightsOrigin:
    """Where the weights came from; of a plugin's own, what it says, and their digest.

    The module may say in `weights_origin`, a text, what they were trained on; else the plugin's
    distribution and version stand for it.
    """
    if found.origin.source != PRETRAINED:
        return found.origin
    part = config.backbone
    told = getattr(backbone, "weights_origin", "") or f"of {part.distribution} {part.version}"
    return WeightsOrigin(
        source=PRETRAINED, sha256=digest_of(backbone.state_dict()), description=str(told).strip()
    )


def preprocessing_of(
    config: ModelConfig, backbone: nn.Module, found: InitialWeights
) -> Preprocessing:
    """The composition's preprocessing, with the mean and std that came with the weights.

    A file's metadata decide; else what the built module knows of its own hub weights
    (`input_mean`, `input_std`); else the spec's stand.
    """
    mean = getattr(backbone, "input_mean", None)
    std = getattr(backbone, "input_std", None)
    if found.file is not None:
        mean = _three(found, "mean") or mean
        std = _three(found, "std") or std
    return replace(
        config.preprocessing,
        mean=tuple(mean) if mean else config.preprocessing.mean,
        std=tuple(std) if std else config.preprocessing.std,
    )


@contextlib.contextmanager
def hub_explained(backbone: str, what: str = "ImageNet") -> Iterator[None]:
    """Whatever goes wrong while a plugin fetches weights, told as what to do about it."""
    try:
        yield
    except WbczooError:
        raise
    except (Exception, SystemExit) as error:
        folder = os.environ.get("WBCZOO_WEIGHTS")
        looked = f"{folder} has no {backbone}.safetensors" if folder else "it is not set"
        raise WbczooError(
            f"The {what} weights of {backbone!r} could not be fetched "
            f"({type(error).__name__}: {first_line(error)}). Offline, put "
            f"{backbone}.safetensors into a folder and name it in WBCZOO_WEIGHTS ({looked}); or "
            "give --weights FILE, or --weights none."
        ) from error


def _read(path: Path) -> InitialWeights:
    import safetensors
    from safetensors import safe_open

    if not path.is_file():
        folder = ", but a folder" if path.is_dir() else ""
        raise UsageError(
            f"There is no weights file {path}{folder}. --weights takes none, imagenet, "
            "pretrained or a safetensors file."
        )
    if path.suffix != ".safetensors":
        raise UsageError(
            f"{path} is no safetensors file, and other checkpoints may run code when they are "
            f"opened. Make one of its tensors: wbczoo weights convert {path} --out "
            f"{path.with_suffix('.safetensors').name}"
        )
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise WbczooError(f"{path} cannot be read as safetensors: {error}.") from None
    origin = WeightsOrigin(
        source=path.name,
        sha256=files.sha256_of(path),
        description=metadata.get("weights", ""),
    )
    return InitialWeights(origin, path, tensors, metadata)


def _three(found: InitialWeights, key: str) -> tuple[Any, ...] | None:
    """Three comma-separated numbers (or a JSON list) of a file's metadata; a std is above 0."""
    text = found.metadata.get(key)
    if text is None:
        return None
    try:
        values = tuple(float(value) for value in json.loads(f"[{text.strip('[]() ')}]"))
    except (ValueError, TypeError):
        values = ()
    good = len(values) == 3 and all(map(math.isfinite, values))
    if not good or (key == "std" and min(values) <= 0):
        positive = " above 0" if key == "std" else ""
        raise WbczooError(
            f"{found.file} says that {key} is {text!r}; it must be three numbers{positive}."
        )
    return values
