"""A frozen backbone's features of each image are computed once here and kept in the cache folder.

One folder is one backbone with its weights and preprocessing; in it a file holds the features of
up to 256 images, by content hash, with a checksum. Files are written aside and renamed, so a
writer may die anywhere and several may work at the same time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from wbczoo import files
from wbczoo.data.cache import PixelCache
from wbczoo.errors import WbczooError
from wbczoo.exporting.graph import trace
from wbczoo.model.fused import FusedClassifier
from wbczoo.progress import Tell, bar
from wbczoo.runtime.providers import open_on_cpu
from wbczoo.specs import Size

Kind = Literal["pooled", "map", "trunk"]

_CHUNK = 256
_BATCH = 32
# Below this many images the export to ONNX costs more than it saves.
_WORTH_AN_EXPORT = 600


class Features(nn.Module):
    """The frozen part of a classifier: uint8 images in, features out.

    Args:
        model: the classifier whose backbone, mean and std are used.
        kind: `pooled` gives (N, C), `map` gives (N, C, h, w), `trunk` gives what the last block
            reads, (N, C, h, w).
        frozen: the part of the backbone that computes them, where it is not all of it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: FusedClassifier, kind: Kind, frozen: nn.Module | None = None) -> None:
        super().__init__()
        assert model.backbone is not None
        self.backbone = frozen or model.backbone
        self.kind = kind
        self.register_buffer("mean", model.mean.clone())
        self.register_buffer("std", model.std.clone())

    def forward(self, images: Tensor) -> Tensor:
        """uint8 (N, 3, H, W) -> float32 features; the same steps as the classifier's own."""
        normalised = (images.float() / 255 - self.mean) / self.std
        feature_map: Tensor = self.backbone(normalised).float()
        return feature_map.mean((2, 3)) if self.kind == "pooled" else feature_map


class FeatureCache:
    """The features of images under one frozen backbone, by content hash.

    Args:
        model: its backbone's state, its options and its preprocessing decide the features.
        folder: where caches live; `files.cache_folder()` if None.
        trunk: the part of the backbone that computes them; all of it if None.
    """

    def __init__(
        self,
        model: FusedClassifier,
        kind: Kind,
        folder: Path | None = None,
        trunk: nn.Module | None = None,
    ) -> None:
        self.model = model
        self.kind: Kind = kind
        self.trunk = trunk
        self.pixels = PixelCache(model.config.preprocessing, folder)
        part, preprocessing = model.config.backbone, model.config.preprocessing
        recipe = {
            "backbone": part.model_dump(mode="json"),
            "state": digest_state(trunk or model.backbone),
            "pixels": self.pixels.folder.name,
            "mean": list(preprocessing.mean),
            "std": list(preprocessing.std),
            "kind": kind,
        }
        name = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]
        self.folder = (folder or files.cache_folder()) / "features" / name
        self._rows: dict[str, Tensor] = {}
        self._files: set[Path] = set()
        self.engine = ""

    def fill(
        self,
        wanted: Mapping[str, Callable[[], bytes]],
        device: torch.device,
        tell: Tell,
    ) -> dict[str, str]:
        """Compute what is not yet here.

        Args:
            wanted: content hash -> a function that reads the file.
            device: where to compute.

        Returns:
            content hash -> reason, for each image that was refused.

        Raises:
            WbczooError: if the folder cannot be written, or features are no numbers.
        """
        self._load()
        if all(digest in self._rows for digest in wanted):
            return {}
        self.folder.mkdir(parents=True, exist_ok=True)
        with files.locked(self.folder / "lock"):  # so that two processes do not compute the same
            self._load()
            missing = {digest: read for digest, read in wanted.items() if digest not in self._rows}
            with bar(len(missing), "pixels", unit="image") as advance:
                refused = self.pixels.fill(missing, advance=advance)
            self._compute([digest for digest in missing if digest not in refused], device, tell)
        self._load()
        return refused

    def __contains__(self, digest: str) -> bool:
        return digest in self._rows

    def gather(self, hashes: Sequence[str]) -> Tensor:
        """Features of these contents, (N, C) or (N, C, h, w); KeyError for one not here."""
        return torch.stack([self._rows[digest] for digest in hashes])

    def size_of(self, hashes: Sequence[str]) -> int:
        """Bytes of the features of these contents; KeyError for a first one not here."""
        return len(hashes) * self._rows[hashes[0]].nbytes if hashes else 0

    def _compute(self, missing: Sequence[str], device: torch.device, tell: Tell) -> None:
        if not missing:
            return
        pixels = self.pixels.pixels()
        places = self.pixels.rows(missing)
        first = _images(pixels[places[:_BATCH]])
        features = Features(self.model, self.kind, self.trunk)
        size = self.model.config.preprocessing.size
        self.engine, run = choose_engine(features, size, first, len(missing), device, tell)
        with bar(len(missing), "features", unit="image") as advance:
            for start in range(0, len(missing), _CHUNK):
                chunk = list(missing[start : start + _CHUNK])
                found = []
                for at in range(start, start + len(chunk), _BATCH):
                    end = min(at + _BATCH, start + len(chunk))
                    found.append(run(_images(pixels[places[at:end]])))
                    advance(end - at)
                self._save(chunk, torch.cat(found))

    def _save(self, hashes: list[str], features: Tensor) -> None:
        if not bool(torch.isfinite(features).all()):
            raise WbczooError(
                f"The backbone {self.model.config.backbone.name!r} gives features that are no "
                "numbers; its weights are damaged."
            )
        name = hashlib.sha256("".join(hashes).encode()).hexdigest()[:24]
        metadata = {"hashes": json.dumps(hashes), "crc32": str(_sum(features))}
        try:
            with files.written_aside(self.folder / f"{name}.safetensors") as aside:
                save_file({"features": features.contiguous()}, aside, metadata)
        except SafetensorError as error:  # what safetensors makes of a full disk
            raise WbczooError(f"{self.folder} cannot be written: {error}.") from None

    def _load(self) -> None:
        """Take up the files that are new; a damaged one is removed, and computed again."""
        for path in sorted(set(self.folder.glob("[!.]*.safetensors")) - self._files):
            try:
                with safe_open(path, framework="pt") as opened:
                    metadata = opened.metadata() or {}
                    features = opened.get_tensor("features")  # mapped from the disk
                hashes = json.loads(metadata["hashes"])
                good = str(_sum(features)) == metadata["crc32"] and len(hashes) == len(features)
            except (SafetensorError, OSError, KeyError, ValueError):
                good = False
            if not good:
                with contextlib.suppress(OSError):
                    path.unlink()
                continue
            self._rows.update(zip(hashes, features, strict=True))
            self._files.add(path)


def choose_engine(
    features: Features,
    size: Size,
    example: Tensor,
    images: int,
    device: torch.device,
    tell: Tell,
) -> tuple[str, Callable[[Tensor], Tensor]]:
    """The faster of onnxruntime and PyTorch on this machine, timed on the example.

    onnxruntime is tried on a CPU where the images are many enough for its export to pay, and
    taken only where its features agree with PyTorch's.

    Args:
        size: (H, W) of the images, in pixels.
        example: uint8 (N, 3, H, W).
        images: how many will follow.

    Returns:
        its name, and a function uint8 (n, 3, H, W) -> float32 features on the CPU.
    """
    features = features.eval().to(device).to(memory_format=torch.channels_last)

    def by_torch(images: Tensor) -> Tensor:
        with torch.inference_mode():
            found: Tensor = features(images.to(device))
            return found.cpu()

    if device.type != "cpu" or images < _WORTH_AN_EXPORT:
        return "PyTorch", by_torch
    by_onnx = open_by_onnxruntime(features, size)
    if by_onnx is None:
        tell("this backbone does not export to ONNX; PyTorch computes its features")
        return "PyTorch", by_torch
    told, expected = by_onnx(example), by_torch(example)
    if not torch.allclose(told, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max())):
        tell("onnxruntime's features differ from PyTorch's; PyTorch computes them")
        return "PyTorch", by_torch
    speeds = {name: _seconds(run, example) for name, run in (("o", by_onnx), ("p", by_torch))}
    faster = "onnxruntime" if speeds["o"] < speeds["p"] else "PyTorch"
    tell(
        f"features by {faster}: {len(example) / min(speeds.values()):.0f} images/s, the other "
        f"{len(example) / max(speeds.values()):.0f}"
    )
    return faster, by_onnx if faster == "onnxruntime" else by_torch


def open_by_onnxruntime(features: Features, size: Size) -> Callable[[Tensor], Tensor] | None:
    """A function that computes the features by onnxruntime on the CPU; None where none can.

    Args:
        features: on the CPU, in evaluation mode.
        size: (H, W) of the images, in pixels.
    """
    try:
        graph = trace(features, size, ["features"])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "features.onnx"
            onnx.save(graph, path)
            network = open_on_cpu(path, None, None)  # which reads the file whole
    except Exception:  # whatever of a plugin's backbone the exporter cannot express
        return None

    def run(images: Tensor) -> Tensor:
        (found,) = network.run(["features"], np.ascontiguousarray(images.numpy()))
        return torch.from_numpy(found)

    return run


def digest_state(module: nn.Module | None) -> str:
    """SHA-256 of a module's parameters and buffers: wherever they came from, they are these."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()) if module is not None else ():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _images(pixels: Any) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2)


def _seconds(run: Callable[[Tensor], Tensor], example: Tensor, rounds: int = 2) -> float:
    best = float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        run(example)
        best = min(best, time.perf_counter() - started)
    return best


def _sum(features: Tensor) -> int:
    return zlib.crc32(np.ascontiguousarray(features.numpy()).data)
