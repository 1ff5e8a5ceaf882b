"""Cached pixels become batches on a device here, in an order that follows (seed, epoch)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wbczoo.data.samples import Targets

# A data set stays on the GPU if it leaves this share of the free memory to the model.
_SHARE_FOR_PIXELS = 0.5


class Batches:
    """The pixels and targets of one role, to be asked for by position.

    Args:
        pixels: the cache, (rows, H, W, 3) uint8.
        rows: the cache's row of each image of this role.
        targets: task -> class index of each image of this role, -1 left out.
        device: where batches are wanted. On a GPU the whole role moves there once if it fits.
        laboratories: of each image of this role; none where there is one of all.
    """

    def __init__(
        self,
        pixels: NDArray[np.uint8],
        rows: NDArray[np.int64],
        targets: Targets,
        device: torch.device,
        laboratories: Sequence[str] = (),
    ) -> None:
        self._pixels = pixels
        self._rows = rows
        self.device = device
        self.targets = {name: torch.from_numpy(values) for name, values in targets.items()}
        self._laboratories = laboratories
        self._resident: Tensor | None = None
        if fits(len(rows) * pixels[:1].nbytes, device):
            self._resident = torch.from_numpy(pixels[rows]).to(device)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def resident(self) -> bool:
        """Whether all of it lies on a GPU."""
        return self._resident is not None

    def images(self, positions: NDArray[np.int64]) -> Tensor:
        """uint8 RGB (N, 3, H, W) of the images at these positions, on the device."""
        if self._resident is not None:
            chosen = self._resident[torch.from_numpy(positions).to(self.device, non_blocking=True)]
        else:
            chosen = torch.from_numpy(self._pixels[self._rows[positions]])
            if self.device.type == "cuda":
                chosen = chosen.pin_memory().to(self.device, non_blocking=True)
            else:
                chosen = chosen.to(self.device)
        return chosen.permute(0, 3, 1, 2)  # (N, H, W, 3) in memory: channels last

    def ahead(self, chosen: Sequence[NDArray[np.int64]]) -> Iterator[Tensor]:
        """`images` of each of the chosen positions; the next is read while one is in use.

        Pixels that the system has dropped from memory come back from the disk meanwhile. What
        lies on the device is only asked for there, which no thread makes faster.
        """
        if self.resident:
            yield from map(self.images, chosen)
            return
        with ThreadPoolExecutor(1) as pool:
            waiting = [pool.submit(self.images, positions) for positions in chosen[:1]]
            for positions in chosen[1:]:
                images = waiting.pop().result()
                waiting.append(pool.submit(self.images, positions))
                yield images
            for last in waiting:
                yield last.result()

    def even_shares(self) -> NDArray[np.float64]:
        """What share of an epoch each image has where laboratories count alike, and within one
        its classes; (N,), with the sum 1. A class is what all tasks say together.
        """
        names = self._laboratories or ("",) * len(self)
        targets = zip(*(values.tolist() for values in self.targets.values()), strict=True)
        cells = list(zip(names, targets, strict=True))
        files, classes = Counter(cells), Counter(name for name, _ in set(cells))
        return np.array(
            [1 / (len(classes) * classes[cell[0]] * files[cell]) for cell in cells], np.float64
        )

    def targets_at(self, positions: NDArray[np.int64]) -> Mapping[str, Tensor]:
        """task -> class indices (N,) int64, on the CPU."""
        at = torch.from_numpy(positions)
        return {name: values[at] for name, values in self.targets.items()}


def fits(size: int, device: torch.device) -> bool:
    """Whether so many bytes may stay on a device; only a GPU keeps what training reads."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return size < _SHARE_FOR_PIXELS * free


def draw_order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The order in which an epoch meets its images: a function of seed and epoch alone."""
    return np.random.default_rng((seed, epoch, 0)).permutation(count)


def draw_evenly(seed: int, epoch: int, shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """As many images as there are, each about as often as its share says, in a drawn order.

    Systematic sampling: evenly spaced points fall on the images laid side by side in a drawn
    order, so that an image of share s comes floor(N s) or ceil(N s) times.

    Args:
        shares: (N,) of each image, with the sum 1.
    """
    draw = np.random.default_rng((seed, epoch, 0))
    shuffled = draw.permutation(len(shares))
    points = (np.arange(len(shares)) + draw.random()) / len(shares)
    places = np.searchsorted(np.cumsum(shares[shuffled])[:-1], points, side="right")
    return draw.permutation(shuffled[places])
