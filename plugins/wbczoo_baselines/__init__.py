"""Baselines that are no networks: classical pipelines, and two that show what a score is worth.

Declarations only; scikit-image and scikit-learn come in when one is built.
"""

from __future__ import annotations

from typing import Any

from wbczoo.errors import UsageError
from wbczoo.specs import BaselineSpec


def _majority(*, seed: int) -> Any:
    from wbczoo_baselines.simple import Majority

    return Majority()


def _nearest(*, seed: int) -> Any:
    from wbczoo_baselines.simple import Nearest

    return Nearest()


def _nucleus_knn(*, seed: int, neighbours: int = 5) -> Any:
    from wbczoo_baselines.nucleus import NucleusNeighbours

    if neighbours < 1:
        raise UsageError(
            f"The option neighbours={neighbours} cannot be: at least one neighbour has to vote."
        )
    return NucleusNeighbours(neighbours)


def _nucleus_svm(*, seed: int, C: float = 3.0, gamma: float = 0.002) -> Any:  # noqa: N803
    from wbczoo_baselines.nucleus import NucleusMachine

    for name, value in (("C", C), ("gamma", gamma)):
        if not 0 < value < float("inf"):
            raise UsageError(f"The option {name}={value} cannot be: it is a number above 0.")
    return NucleusMachine(C, gamma, seed)


MAJORITY = BaselineSpec(
    name="majority",
    requires=("numpy",),
    licence="MIT",
    reference="the share of each class among the training images, whatever is shown",
    build=_majority,
)

NEAREST = BaselineSpec(
    name="nearest",
    requires=("sklearn",),
    licence="MIT",
    reference="Cover and Hart 1967, doi:10.1109/TIT.1967.1053964, over histograms of colour: a"
    " detector of views of one photograph on both sides of a split",
    build=_nearest,
)

NUCLEUS_KNN = BaselineSpec(
    name="nucleus_knn",
    requires=("scipy", "skimage", "sklearn"),
    licence="MIT",
    reference="after Young 1972, The classification of white blood cells,"
    " doi:10.1109/TBME.1972.324072, with the threshold of Otsu 1979",
    options={"neighbours": 5},
    build=_nucleus_knn,
)

NUCLEUS_SVM = BaselineSpec(
    name="nucleus_svm",
    requires=("scipy", "skimage", "sklearn"),
    licence="MIT",
    reference="after Rezatofighi and Soltanian-Zadeh 2011, Automatic recognition of five types of"
    " white blood cells in peripheral blood, doi:10.1016/j.compmedimag.2011.01.003",
    options={"C": 3.0, "gamma": 0.002},
    build=_nucleus_svm,
)
