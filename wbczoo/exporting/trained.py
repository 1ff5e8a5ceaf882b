"""What an export is made from: a run, or the runs of a folder that answer together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wbczoo import files
from wbczoo.config import RunConfig
from wbczoo.errors import UsageError, WbczooError
from wbczoo.exporting.card_page import ALL
from wbczoo.model.ensemble import Ensemble
from wbczoo.model.fused import FusedClassifier
from wbczoo.runtime.flags import Limits, average
from wbczoo.runtime.sets import Sets, read_sets
from wbczoo.training import checkpoint
from wbczoo.training.members import find_members


@dataclass(frozen=True)
class Trained:
    """A model that is exported.

    Attributes:
        folder: the run's, or the one that holds an ensemble's runs.
        config: the run's; of an ensemble the first member's.
        name: the composition's, or the ensemble's.
        limits: of its flags; None of a model without novelty.
        sets: what it can promise; None of an ensemble, and where nothing was fitted.
        weights_sha256: of the run's `model.safetensors`, or over those of the members.
        members: of an ensemble; none of a run.
    """

    folder: Path
    config: RunConfig
    name: str
    model: FusedClassifier | Ensemble
    limits: Limits | None
    weights_sha256: str
    sets: Sets | None = None
    members: tuple[Trained, ...] = ()

    @property
    def cached(self) -> Path:
        """The run whose images in the pixel cache the gates look at."""
        return self.members[0].folder if self.members else self.folder

    @property
    def summary(self) -> dict[str, Any]:
        """What its training left; of an ensemble the first member's."""
        path = self.cached / checkpoint.SUMMARY
        return files.read_json(path) if path.is_file() else {}

    def evaluations(self) -> list[dict[str, Any]]:
        """What was measured of it; of a fold's run, or of folds together, also of all pooled."""
        return [*self._evaluations()]

    def _evaluations(self) -> Iterator[dict[str, Any]]:
        names = {member.name for member in self.members}
        for found in _read(self.folder):
            pooled = found.get("fold") == ALL and found.get("name") in names
            if not self.members or found.get("name") == self.name or pooled:
                yield found
        if not self.members and self.folder.resolve().name.startswith("fold-"):
            for found in _read(self.folder.resolve().parent):
                if found.get("fold") == ALL and found.get("name") == self.name:
                    yield found


def _read(folder: Path) -> list[dict[str, Any]]:
    return [files.read_json(path) for path in sorted(folder.glob("evaluation*.json"))]


def bare(model: FusedClassifier) -> Trained:
    """A model that lies in no folder, whose graph alone is wanted."""
    return Trained(Path(), RunConfig(model=model.config), model.config.name, model, None, "")


def load(folder: Path, fold: int | None = None, elsewhere: str | None = None) -> Trained:
    """A run in a folder, or that of one of the folds in it.

    Args:
        elsewhere: what a model that was trained without wbczoo learned from.

    Raises:
        UsageError: if there is none, its training has not ended, or wbczoo trained what is said to
            be trained elsewhere.
        WbczooError: if its files are damaged.
    """
    folder = _fold_of(folder, fold)
    config, model = checkpoint.load_model(folder)
    if config.train is not None and not (folder / checkpoint.SUMMARY).is_file():
        # Its best epoch so far would go out uncalibrated, under a card that says “never trained”.
        raise UsageError(
            f"{folder} is a training that has not ended: it has no {checkpoint.SUMMARY}, and "
            "its probabilities are not calibrated. Let it end, or go on by its `wbczoo train` "
            "command with --resume."
        )
    if elsewhere is not None:
        if config.train is not None:
            raise UsageError(
                f"{folder} was trained by wbczoo, and its card says on what. Leave out "
                "--trained-elsewhere."
            )
        config = config.model_copy(update={"trained_on": elsewhere.strip()})
    digest = files.sha256_of(folder / checkpoint.MODEL)
    return Trained(
        folder,
        config,
        config.model.name,
        model,
        _limits_of(folder, model),
        digest,
        read_sets(folder / checkpoint.SUMMARY),
    )


def load_ensemble(folder: Path) -> Trained:
    """All runs of a folder, as one model.

    Raises:
        UsageError: if there are fewer than two, they do not fit each other, or one has not ended.
        WbczooError: if files of one are damaged.
    """
    members = tuple(load(each) for each in find_members(folder))
    model = Ensemble([_network(member) for member in members]).eval()
    whole = hashlib.sha256("".join(member.weights_sha256 for member in members).encode())
    limits = average([member.limits for member in members]) if model.has_novelty else None
    return Trained(
        folder,
        members[0].config,
        model.name,
        model,
        limits,
        whole.hexdigest(),
        members=members,
    )


def _network(member: Trained) -> FusedClassifier:
    assert isinstance(member.model, FusedClassifier)
    return member.model


def _fold_of(run: Path, fold: int | None) -> Path:
    """A run's folder, or that of one of several folds' runs in it."""
    folds = sorted(run.glob(f"fold-*/{checkpoint.CONFIG}"))
    if fold is None:
        if folds and not (run / checkpoint.CONFIG).is_file():
            raise UsageError(
                f"{run} holds {len(folds)} runs, each with another fold left out. Export one, "
                f"wbczoo export {run} --fold 0 --out NEW, or let all of them answer together by "
                "--ensemble in its place; the card then has the figures of all folds pooled."
            )
        return run
    if not folds and (run / checkpoint.CONFIG).is_file():
        raise UsageError(
            f"{run} is one run and holds no folds. Leave out --fold: wbczoo export {run} --out NEW"
        )
    if run / f"fold-{fold}" / checkpoint.CONFIG not in folds:
        held = ", ".join(path.parent.name.removeprefix("fold-") for path in folds) or "none"
        raise UsageError(f"{run} has no run of fold {fold}; it has those of: {held}.")
    return run / f"fold-{fold}"


def _limits_of(folder: Path, model: FusedClassifier) -> Limits | None:
    """The limits that were fitted with a model's novelty; None of a model that has none."""
    if model.novelty is None:
        return None
    found: Any = files.read_json(folder / checkpoint.SUMMARY).get("limits")
    try:
        return Limits(found["unknown_above"], found["unsure_below"])
    except (KeyError, TypeError):
        raise WbczooError(
            f"{folder / checkpoint.SUMMARY} lacks the limits that were fitted with the "
            "novelty of this model; it is of another training. Train the run again."
        ) from None
