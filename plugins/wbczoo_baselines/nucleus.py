"""Descriptions of nucleus and cytoplasm become classes here: by neighbours, and by an SVM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from wbczoo_baselines.features import SIMPLE, describe_all

Image8 = NDArray[np.uint8]
Labels = NDArray[np.int64]
Floats = NDArray[np.float64]

FOLDS = 5


class NucleusNeighbours:
    """The nearest neighbours of a few measures of the nucleus vote (after Young 1972).

    Args:
        neighbours: how many vote, at most all training images.
    """

    def __init__(self, neighbours: int) -> None:
        self.neighbours = neighbours

    def fit(self, images: Sequence[Image8], labels: Labels, groups: Sequence[str]) -> None:
        """Measure the images (H, W, 3) one by one; `labels` are class indices (N,)."""
        # A tree computes each distance by itself, so that ties fall alike in any batch.
        voters = KNeighborsClassifier(min(self.neighbours, len(labels)), algorithm="kd_tree")
        self.model = _behind_scaling(voters)
        self.model.fit(describe_all(images, SIMPLE), labels)

    def predict_proba(self, images: Sequence[Image8]) -> Floats:
        """(N, classes): each class's share of the votes."""
        return np.asarray(self.model.predict_proba(describe_all(images, SIMPLE)), np.float64)


class NucleusMachine:
    """An SVM with a Gaussian kernel over 214 measures (after Rezatofighi 2011, section 2.4).

    Its probabilities are a logistic regression's over the decisions about images that were held
    out by group: Platt's way (1999), for several classes at once.

    Args:
        C: the price of a training image on the wrong side; classes are weighted by their rarity.
        gamma: of the kernel exp(-gamma d²), over measures that are standardised.
        seed: of the folds by which probabilities are fitted.
    """

    def __init__(self, C: float, gamma: float, seed: int) -> None:  # noqa: N803
        self.C, self.gamma, self.seed = C, gamma, seed

    def fit(self, images: Sequence[Image8], labels: Labels, groups: Sequence[str]) -> None:
        """Measure the images (H, W, 3) one by one; `labels` are class indices (N,).

        `groups` (N,) name what stays together when images are held out.
        """
        measures = describe_all(images)  # (N, F)
        self.classes = int(labels.max()) + 1
        self.machine: Pipeline | None = None
        if self.classes == 1:  # nothing to part
            return
        self.machine = self._machine().fit(measures, labels)
        decisions = self._decide_held_out(measures, labels, np.asarray(groups))
        self.chances = LogisticRegression(C=1.0, max_iter=1000)
        self.chances.fit(decisions, labels)

    def predict_proba(self, images: Sequence[Image8]) -> Floats:
        """(N, classes)."""
        if self.machine is None:
            return np.ones((len(images), 1))
        decisions = _columns(self.machine.decision_function(describe_all(images)))
        return np.asarray(self.chances.predict_proba(decisions), np.float64)

    def _machine(self) -> Pipeline:
        return _behind_scaling(
            SVC(C=self.C, gamma=self.gamma, class_weight="balanced", cache_size=500)
        )

    def _decide_held_out(self, measures: Floats, labels: Labels, groups: NDArray[Any]) -> Floats:
        """Decisions (N, classes) about images whose groups were held out.

        Where a class has too few groups for that, the decisions are about training images.
        """
        assert self.machine is not None
        fewest = min(len(set(groups[labels == c])) for c in range(self.classes))
        decisions = np.zeros((len(labels), 1 if self.classes == 2 else self.classes))
        if fewest >= 2:
            folds = StratifiedGroupKFold(min(FOLDS, fewest), shuffle=True, random_state=self.seed)
            parts = list(folds.split(measures, labels, groups))
            if all(len(np.unique(labels[kept])) == self.classes for kept, _ in parts):
                for kept, held in parts:
                    machine = self._machine().fit(measures[kept], labels[kept])
                    decisions[held] = _columns(machine.decision_function(measures[held]))
                return decisions
        return _columns(self.machine.decision_function(measures))


def _behind_scaling(classifier: Any) -> Pipeline:
    """The classifier over standardised measures; a cell that was not found is an average one."""
    known = SimpleImputer(keep_empty_features=True)
    return make_pipeline(known, StandardScaler(), classifier)


def _columns(decisions: Floats) -> Floats:
    """Decisions (N, classes), or (N, 1) where there are two classes."""
    return decisions.reshape(len(decisions), -1)
