"""Two baselines that know nothing of cells: the commonest class, and the nearest histogram."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wbczoo_baselines.segmentation import FILL

Image8 = NDArray[np.uint8]
Labels = NDArray[np.int64]
Probabilities = NDArray[np.float64]

SIDE = 160  # pixels; every image is brought to at most this side before its colours are counted
BINS = 8  # of each channel


class Majority:
    """Answers with the share of each class among the training images, whatever it is shown."""

    def fit(self, images: Sequence[Image8], labels: Labels, groups: Sequence[str]) -> None:
        """Count the labels, class indices (N,)."""
        self.shares = np.bincount(labels) / len(labels)  # (classes,)

    def predict_proba(self, images: Sequence[Image8]) -> Probabilities:
        """(N, classes): the same row for each image."""
        return np.tile(self.shares, (len(images), 1))


class Nearest:
    """Answers with the class of the training image whose histogram of colours is nearest.

    Two views of one photograph have nearly the same colours, and a turn, a shift or a mirror
    change few of them. So where it does well under one protocol and badly under another, the
    first has the same photographs on both sides.
    """

    def fit(self, images: Sequence[Image8], labels: Labels, groups: Sequence[str]) -> None:
        """Keep the histograms of the images, (N, 512) float32, with their class indices (N,)."""
        from sklearn.neighbors import KNeighborsClassifier

        # A tree computes each distance by itself, so that ties fall alike in any batch.
        self.neighbour = KNeighborsClassifier(1, algorithm="kd_tree")
        self.neighbour.fit(_histograms(images), labels)

    def predict_proba(self, images: Sequence[Image8]) -> Probabilities:
        """(N, classes): 1 for the nearest image's class."""
        return np.asarray(self.neighbour.predict_proba(_histograms(images)), np.float64)


def count_colours(image: Image8) -> NDArray[np.float32]:
    """Square roots of the shares of 8 x 8 x 8 colours, (512,); black fill does not count.

    The Euclidean distance of two such rows is Hellinger's, times the root of 2.

    Args:
        image: (H, W, 3) RGB, of any size.
    """
    shown = Image.fromarray(np.ascontiguousarray(image))
    shown.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    pixels = np.asarray(shown).reshape(-1, 3)
    lit = pixels[pixels.max(1) > FILL]
    places = (lit // (256 // BINS)).astype(np.int64) @ np.array([BINS * BINS, BINS, 1])
    counts = np.bincount(places, minlength=BINS**3)
    return np.sqrt(counts / max(1, len(lit))).astype(np.float32)


def _histograms(images: Iterable[Image8]) -> NDArray[np.float32]:
    return np.stack([count_colours(image) for image in images])
