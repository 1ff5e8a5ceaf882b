"""Whether a model may be asked: what it has seen is held against what it would be tested on."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from wbczoo.config import ModelConfig, TrainConfig
from wbczoo.data.plan import Plan, digest_of, read_split
from wbczoo.data.prepared import count
from wbczoo.data.samples import Rows
from wbczoo.data.splits import plan_split
from wbczoo.errors import WbczooError
from wbczoo.text import format_sources


@dataclass(frozen=True)
class Seen:
    """What a model has seen: the training and validation rows of its split."""

    hashes: frozenset[str]
    groups: frozenset[str]

    @classmethod
    def read(cls, path: Path, split_sha256: str) -> Seen:
        """From a run's `split.csv`.

        Raises:
            WbczooError: if it is not there or is not the one that the run's config knows.
        """
        try:
            rows, digest = read_split(path)
        except (OSError, ValueError, KeyError, csv.Error):
            rows, digest = [], None
        if digest != split_sha256:
            raise WbczooError(
                f"{path} is missing or damaged: its hash is not the one in config.json. So nobody "
                "knows which photographs the run has seen, and it cannot be measured."
            )
        rows = [row for row in rows if row["role"] != "test"]
        return cls(
            frozenset(row["sha256"] for row in rows),
            frozenset(row["group"] for row in rows if row["group"]),
        )

    @classmethod
    def planned(cls, rows: Rows, plan: Plan) -> Seen:
        """From a split that was drawn again."""
        chosen = (*plan.train, *plan.validation)
        return cls(
            frozenset(rows.hashes[row] for row in chosen),
            frozenset(rows.groups[row] for row in chosen),
        )

    @classmethod
    def nothing(cls) -> Seen:
        """Of a model that was never trained."""
        return cls(frozenset(), frozenset())


def draw_again(
    rows: Rows, model: ModelConfig, trained: TrainConfig | None, split_sha256: str
) -> Seen | None:
    """The split of a lone export, drawn again from the data and known again by its hash.

    None if these are not the data that the model was trained on: an export keeps no list of its
    photographs.
    """
    if trained is None:
        return Seen.nothing()
    try:
        plan = plan_split(rows, model.tasks, trained)
    except WbczooError:  # other data may not even allow that protocol
        return None
    return Seen.planned(rows, plan) if digest_of(rows, plan) == split_sha256 else None


def refuse_seen(rows: Rows, plan: Plan, seen: Seen) -> None:
    """Fail where a test row was trained or validated on.

    Raises:
        WbczooError: with how many files and photographs.
    """
    by_content = {row for row in plan.test if rows.hashes[row] in seen.hashes}
    # Group names mean the same thing only within one data set: where some bytes are the same.
    same_data = plan.protocol not in ("external", "laboratory") or any(
        h in seen.hashes for h in rows.hashes
    )
    groups = {rows.groups[row] for row, digest in enumerate(rows.hashes) if digest in seen.hashes}
    groups |= seen.groups if same_data else set()
    by_group = {row for row in plan.test if rows.groups[row] in groups}
    met = by_content | by_group
    if not met:
        return
    what = f"{len(met)} files"
    if rows.unit != "unknown":
        what += f" of {format_sources(count(rows, sorted(met)), rows.unit)}"
    raise WbczooError(
        f"The model was trained or chosen on {what} of the {len(plan.test)} files that the "
        f"protocol {plan.protocol!r} tests on, so their score would say nothing. Evaluate it by "
        "the protocol that it was trained under, or train it under this one."
    )


def refuse_adapted(rows: Rows, plan: Plan, reviewed: frozenset[str]) -> None:
    """Fail where a test row shows what the model was adapted to.

    Args:
        reviewed: content hashes of the files that it was adapted to.

    Raises:
        WbczooError: with how many files.
    """
    groups = {rows.groups[row] for row, digest in enumerate(rows.hashes) if digest in reviewed}
    if met := sum(rows.groups[row] in groups for row in plan.test):
        raise WbczooError(
            f"The model was adapted to {met} of the {len(plan.test)} files that would be tested, "
            "or to others of their groups. Its card has the figures before and after on them; to "
            "measure it further, give other cells."
        )
