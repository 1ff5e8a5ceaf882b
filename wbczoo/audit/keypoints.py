"""Pixels become keypoints here, and two sets of keypoints a verdict: one photograph, or not.

A view of a photograph is the photograph turned, sheared, shifted, mirrored, brightened or cut. So
what lies in both views lies in each at places that one affine map ties together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

# Changes whenever the same image would have other keypoints than before.
FINDING = 1

LONGEST_SIDE = 400  # pixels; larger images are shrunk to it, for what is told apart is coarse
MOST_KEYPOINTS = 256

# In pixels of the shrunk image: how far a point may lie from where the affine map puts it.
_TOLERANCE = 3.0
_RATIO = 0.85  # the nearest descriptor's distance to the second nearest's (Lowe 2004, 7.1)
_LARGEST_STRETCH = 2.5  # of one axis against the other; a shear of 20 degrees makes 1.4
_LARGEST_SCALE = 4.0

# A descriptor is 4 rows, 4 columns and 8 directions of gradients, in the keypoint's own frame.
# In a mirrored image the rows and the directions run the other way (Guo and Cao 2012, MIFT).
_MIRRORED = np.arange(128).reshape(4, 4, 8)[::-1][:, :, (-np.arange(8)) % 8].ravel()


@dataclass(frozen=True)
class Keypoints:
    """What is remembered of an image.

    Attributes:
        points: (K, 2) float32, x and y in pixels of the shrunk image; K is at most 256.
        descriptors: (K, 128) uint8, SIFT.
        area: of the shrunk image, in pixels.
    """

    points: Floats
    descriptors: Pixels
    area: int

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True)
class Match:
    """How far one affine map explains two images.

    Attributes:
        inliers: matched keypoints that the map puts within 3 pixels of each other.
        matched: keypoints whose descriptors chose each other.
        covered: the share in [0, 1] of the first image that the inliers' convex hull takes.
        mirrored: whether the map mirrors.
    """

    inliers: int = 0
    matched: int = 0
    covered: float = 0.0
    mirrored: bool = False

    @property
    def share(self) -> float:
        """Of the matched keypoints, those that are inliers; in [0, 1]."""
        return self.inliers / self.matched if self.matched else 0.0


def find_keypoints(image: Pixels) -> Keypoints:
    """The 256 strongest keypoints of an image (SIFT; Lowe 2004), and their descriptors.

    They are sought in the green channel, in which the stain shows most. Keypoints beside large
    black areas are left out: they are the edge of the fill that an augmentation left.

    Args:
        image: uint8 (H, W, 3), RGB.

    Returns:
        between 0 and 256 keypoints; deterministic.
    """
    height, width = image.shape[:2]
    shrink = LONGEST_SIDE / max(height, width)
    if shrink < 1:
        size = (max(round(width * shrink), 16), max(round(height * shrink), 16))
        image = cast(Pixels, cv2.resize(image, size, interpolation=cv2.INTER_AREA))
        height, width = image.shape[:2]
    sift = cv2.SIFT.create(4 * MOST_KEYPOINTS, 3, 0.02, 10, 1.6, cv2.CV_8U)
    found, descriptors = sift.detectAndCompute(image[:, :, 1], None)
    if descriptors is None or not len(found):
        return Keypoints(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8), height * width)
    points = np.array([point.pt for point in found], np.float32)
    sizes = np.array([point.size for point in found], np.float32)
    strengths = np.array([point.response for point in found], np.float32)
    columns = np.clip(np.rint(points[:, 0]).astype(int), 0, width - 1)
    rows = np.clip(np.rint(points[:, 1]).astype(int), 0, height - 1)
    strengths[_distance_to_fill(image)[rows, columns] <= 2 * sizes] = -1
    # Ties are broken by place, so that the order of detection does not matter.
    order = np.lexsort((points[:, 1], points[:, 0], -strengths))[:MOST_KEYPOINTS]
    order = order[strengths[order] >= 0]
    kept = np.ascontiguousarray(descriptors[order].astype(np.uint8))
    return Keypoints(points[order], kept, height * width)


def normalise(descriptors: Pixels) -> Floats:
    """RootSIFT: descriptors whose dot product compares histograms (Arandjelovic 2012, 2).

    Args:
        descriptors: uint8 (K, 128).

    Returns:
        float32 (K, 128), each of length 1.
    """
    counts = descriptors.astype(np.float32)
    counts /= np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return cast(Floats, np.sqrt(counts))


def mirror(descriptors: Pixels) -> Pixels:
    """The descriptors (K, 128) that the mirrored image would have."""
    return descriptors[:, _MIRRORED]


def compare(one: Keypoints, other: Keypoints, *, mirrored: bool) -> Match:
    """Match descriptors, and count those that one affine map explains (RANSAC; Fischler 1981).

    Args:
        mirrored: whether the map that is sought mirrors. A map that does otherwise, or that
            stretches or scales as no photograph's views do, explains nothing.

    Returns:
        the match; with 0 inliers where there is no such map.
    """
    pairs = _match(one.descriptors, mirror(other.descriptors) if mirrored else other.descriptors)
    nothing = Match(matched=len(pairs), mirrored=mirrored)
    if len(pairs) < 4:  # three points fit any affine map
        return nothing
    here, there = one.points[pairs[:, 0]], other.points[pairs[:, 1]]
    found, inside = cv2.estimateAffine2D(
        here, there, method=cv2.RANSAC, ransacReprojThreshold=_TOLERANCE, maxIters=1000,
        confidence=0.995,
    )  # fmt: skip
    if found is None or not _is_plausible(found[:, :2], mirrored):
        return nothing
    chosen = here[inside.ravel().astype(bool)]
    # Two keypoints of one place, with different directions, are one witness.
    witnesses = len(np.unique(np.rint(chosen), axis=0))
    covered = float(cv2.contourArea(cv2.convexHull(chosen))) / one.area if witnesses > 2 else 0.0
    return Match(witnesses, len(pairs), covered, mirrored)


def _match(one: Pixels, other: Pixels) -> NDArray[np.int64]:
    """(M, 2) indices of descriptors that chose each other and are far from any second choice."""
    if len(one) < 2 or len(other) < 2:
        return np.zeros((0, 2), np.int64)
    likeness = normalise(one) @ normalise(other).T
    best = likeness.argmax(axis=1)
    rows = np.arange(len(one))
    mutual = likeness.argmax(axis=0)[best] == rows
    first = likeness[rows, best]
    likeness[rows, best] = -1
    second = likeness.max(axis=1)
    # Squared distances of unit vectors are 2 - 2 * likeness.
    clear = 1 - first < _RATIO**2 * (1 - second)
    chosen = np.flatnonzero(mutual & clear)
    return np.stack([chosen, best[chosen]], axis=1)


def _is_plausible(linear: NDArray[np.number[Any]], mirrored: bool) -> bool:
    scales = np.linalg.svd(linear, compute_uv=False)
    return bool(
        (np.linalg.det(linear) < 0) == mirrored
        and scales[1] > 1 / _LARGEST_SCALE
        and scales[0] < _LARGEST_SCALE
        and scales[0] < _LARGEST_STRETCH * scales[1]
    )


def _distance_to_fill(image: Pixels) -> Floats:
    """(H, W): how far each pixel is from the next large black area; large where there is none."""
    black = (image.max(axis=2) < 24).astype(np.uint8)
    count, areas, facts, _ = cv2.connectedComponentsWithStats(black)
    large = [area for area in range(1, count) if facts[area, cv2.CC_STAT_AREA] >= 50]
    if not large:
        return np.full(black.shape, np.inf, np.float32)
    free = 1 - np.isin(areas, large).astype(np.uint8)
    return cast(Floats, cv2.distanceTransform(free, cv2.DIST_L2, 3))
