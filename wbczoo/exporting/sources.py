"""Which real images an export is measured on: from the run's pixel cache, or a user's own."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wbczoo import images
from wbczoo.data.cache import PixelCache
from wbczoo.errors import ImageRefused, UsageError, WbczooError
from wbczoo.exporting.agreement import ENOUGH
from wbczoo.images import Pixels
from wbczoo.images.walk import find_images
from wbczoo.specs import Preprocessing
from wbczoo.training.checkpoint import SPLIT

_JUDGED = 1000
_CALIBRATION = 96
_FEWEST = 16
_CHOOSING = 500


@dataclass(frozen=True)
class RealImages:
    """Images for a lower precision, each uint8 (N, 3, H, W), with none in common.

    Attributes:
        judged: on which it is measured against fp32; `source` says what they are.
        calibration: of training photographs: the ranges of what is quantised.
        choosing: of training photographs: which layers are.
    """

    judged: Pixels
    source: str
    calibration: Pixels
    choosing: Pixels


def cached_images(run: Path, preprocessing: Preprocessing, wanted: int) -> Pixels:
    """Up to `wanted` of the run's training images, (N, 3, H, W), from the pixel cache.

    Empty where the run was never trained or its cache is gone.
    """
    return _Cached(run, preprocessing).take("train", wanted)


def given_images(path: Path, preprocessing: Preprocessing, wanted: int) -> Pixels:
    """Up to `wanted` different good images of a file, folder, archive or glob, spread over it.

    Raises:
        UsageError: if there is none.
    """
    names = find_images([str(path)])
    step = max(1, len(names) // wanted)
    kept: dict[bytes, Pixels] = {}  # a copy would say a second time what the image said
    for name in (name for first in range(step) for name in names[first::step]):
        try:
            pixels = images.pixels(name, preprocessing)
        except ImageRefused:
            continue
        kept[hashlib.sha256(pixels.data).digest()] = pixels
        if len(kept) == wanted:
            break
    if not kept:
        raise UsageError(f"{path} holds no image that can be used.")
    return _channels_first(np.stack([*kept.values()]))


def real_images(
    run: Path, preprocessing: Preprocessing, precision: str, given: Path | None
) -> RealImages:
    """Gather what a lower precision is chosen and measured on; test images are never among it.

    Measured on are the given images, else the run's validation images, and where those are fewer
    than 500, training images that serve nothing else. A run whose training images are not here is
    calibrated on every fourth of the given ones, which then measure nothing.

    Raises:
        UsageError: if there are fewer than 16 of either.
    """
    cached = _Cached(run, preprocessing)
    empty = cached.take("train", 0)
    calibration = choosing = empty
    if precision == "int8":
        calibration = cached.take("train", _CALIBRATION)
    if given is not None:
        judged, source = given_images(given, preprocessing, _JUDGED), "given images"
        if precision == "int8" and len(calibration) < _FEWEST:
            aside = np.arange(len(judged)) % 4 == 0
            calibration, judged = judged[aside][:_CALIBRATION], judged[~aside]
    else:
        judged, source = cached.take("validation", _JUDGED), "validation images"
        if (missing := ENOUGH - len(judged)) > 0:
            more = cached.take("train", missing)
            source = f"validation and training images ({len(judged)} and {len(more)})"
            judged = np.concatenate([judged, more])
    if precision == "int8" and len(calibration) < _FEWEST:
        raise UsageError(
            f"int8 is calibrated on at least {_FEWEST} training images, and "
            f"{given or 'the pixel cache'} gave {len(calibration)}. Name a folder of them with "
            "--images, or export in fp16."
        )
    if len(judged) < _FEWEST:
        raise UsageError(
            f"{precision} is measured against fp32 on at least {_FEWEST} real images, and "
            f"{given or 'the run and its pixel cache'} gave {len(judged)}. Name a folder with more "
            f"by --images; {ENOUGH} tell enough."
        )
    if precision == "int8":
        choosing = cached.take("train", _CHOOSING)
        if len(choosing) == 0:
            choosing = calibration
    return RealImages(judged, source, calibration, choosing)


class _Cached:
    """A run's images in the pixel cache, by role; each is handed out once."""

    def __init__(self, run: Path, preprocessing: Preprocessing) -> None:
        self._empty = np.zeros((0, 3, *preprocessing.size), np.uint8)
        self._cache: PixelCache | None = None
        self._left: dict[str, list[str]] = {}
        try:
            with (run / SPLIT).open(newline="", encoding="utf-8") as stream:
                rows = [(row["role"], row["sha256"]) for row in csv.DictReader(stream)]
            self._cache = PixelCache(preprocessing)
            for role in ("train", "validation"):
                hashes = dict.fromkeys(digest for each, digest in rows if each == role)
                self._left[role] = self._cache.held([*hashes])
        except (OSError, ValueError, KeyError, WbczooError):
            pass  # damaged or gone; who asks is then told that there are none

    def take(self, role: str, wanted: int) -> Pixels:
        """Up to `wanted` of a role's images, spread evenly, (N, 3, H, W)."""
        left: Sequence[str] = self._left.get(role, [])
        if not left or self._cache is None or wanted <= 0:
            return self._empty
        places = np.unique(np.linspace(0, len(left) - 1, min(wanted, len(left))).astype(int))
        taken = [left[place] for place in places]
        gone = set(taken)
        self._left[role] = [digest for digest in left if digest not in gone]
        try:
            return _channels_first(self._cache.pixels()[self._cache.rows(taken)])
        except (OSError, ValueError, KeyError, WbczooError):
            return self._empty


def _channels_first(pixels: Pixels) -> Pixels:
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
