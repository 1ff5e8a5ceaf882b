"""Keypoints become one vector for each image here, and vectors become the likeliest pairs.

Comparing every image with every other takes hours; of the nearest vectors, minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from wbczoo.audit.keypoints import Keypoints, Pixels, mirror, normalise

Vectors = NDArray[np.float32]
Indices = NDArray[np.int64]

WORDS = 64
DIMENSIONS = 32
_LEARNT_FROM = 50_000  # descriptors


def aggregate(keypoints: Sequence[Keypoints]) -> tuple[Vectors, Vectors]:
    """VLAD with intra-normalisation (Jegou 2010, section 3; Arandjelovic 2013, section 3).

    Descriptors are reduced to 32 dimensions and told apart by 64 visual words, both learnt from
    the images themselves and their mirror images.

    Args:
        keypoints: of N images; at least one of them must have some.

    Returns:
        two float32 (N, 2048), of the images as they are and mirrored, each row of length 1 (or 0
        for an image without keypoints).
    """
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.decomposition import PCA

    everything = np.concatenate([each.descriptors for each in keypoints])
    chosen = np.random.default_rng(0).permutation(len(everything))[:_LEARNT_FROM]
    sample = everything[np.sort(chosen)]
    learnt = np.concatenate([normalise(sample), normalise(mirror(sample))])
    reduction = PCA(min(DIMENSIONS, len(learnt)), random_state=0).fit(learnt)
    mean, axes = reduction.mean_.astype(np.float32), reduction.components_.astype(np.float32)
    reduced = (learnt - mean) @ axes.T
    count = min(WORDS, len(reduced))
    words: Vectors = (
        MiniBatchKMeans(count, random_state=0, n_init=1, batch_size=4096)
        .fit(reduced)
        .cluster_centers_.astype(np.float32)
    )

    def vector(descriptors: Pixels) -> Vectors:
        reduced = (normalise(descriptors) - mean) @ axes.T
        nearest = (np.square(words).sum(axis=1) - 2 * reduced @ words.T).argmin(axis=1)
        chosen = (nearest == np.arange(len(words))[:, None]).astype(np.float32)
        sums = chosen @ reduced - chosen.sum(axis=1, keepdims=True) * words
        # Each word counts alike, however often it stands in the image.
        sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
        return cast(Vectors, (sums / max(float(np.linalg.norm(sums)), 1e-9)).ravel())

    return (
        np.stack([vector(each.descriptors) for each in keypoints]),
        np.stack([vector(mirror(each.descriptors)) for each in keypoints]),
    )


def nearest(
    queries: tuple[Vectors, Vectors], among: Vectors, count: int
) -> tuple[Indices, NDArray[np.float64], NDArray[np.bool_]]:
    """The nearest vectors of each query, mirrored or not, the nearest first.

    Args:
        queries: (Q, D) as they are and mirrored.
        among: (N, D), as they are.
        count: how many, at most N.

    Returns:
        indices into `among`, distances, and whether the query was mirrored: each (Q, 2 * count).
    """
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=min(count, len(among)), algorithm="brute").fit(among)
    direct, mirrored = (search.kneighbors(each) for each in queries)
    distances = np.concatenate([direct[0], mirrored[0]], axis=1)
    indices = np.concatenate([direct[1], mirrored[1]], axis=1)
    flags = np.arange(distances.shape[1]) >= direct[0].shape[1]
    order = np.argsort(distances, axis=1, kind="stable")
    return (
        np.take_along_axis(indices, order, axis=1),
        np.take_along_axis(distances, order, axis=1),
        flags[order],
    )
