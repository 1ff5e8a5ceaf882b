"""One training, or one for each fold of the `grouped` protocol, side by side in one folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wbczoo.config import RunConfig
from wbczoo.data.classes import refuse_one_class
from wbczoo.data.prepared import Prepared, prepare, read_dataset
from wbczoo.data.splits import plan_split
from wbczoo.errors import UsageError
from wbczoo.progress import Tell
from wbczoo.training.checkpoint import alone_in, refuse_taken
from wbczoo.training.inference import choose_device
from wbczoo.training.train import train


def train_folds(
    run: RunConfig,
    data: Path,
    out: Path,
    fold: int | str | None,
    *,
    tell: Tell,
    resume: bool = False,
    **settings: Any,
) -> list[dict[str, Any]]:
    """Train under the run's protocol; `grouped` trains one fold, or all into `out/fold-K`.

    Args:
        fold: a number, or `all` (or None, which means all) for `grouped`; None elsewhere.
        settings: of `wbczoo.training.train.train`.

    Returns:
        the summaries, one for each training.

    Raises:
        UsageError, WbczooError: as `prepare` and `train` do.
    """
    config = run.train
    assert config is not None
    if config.protocol != "grouped":
        if fold is not None:
            raise UsageError(f"--fold belongs to --protocol grouped, not to {config.protocol}.")
        numbers: Sequence[int | None] = [None]
    else:
        numbers = range(config.folds) if fold in (None, "all") else [int(fold or 0)]
    folders = {n: out if len(numbers) == 1 else out / f"fold-{n}" for n in numbers}
    # What can be refused at once is refused before the data are read.
    choose_device(settings.get("device", "auto"))
    for folder in folders.values():
        refuse_taken(folder, resume)
    rows = read_dataset(config, data, tell)
    for number in numbers:
        plan = plan_split(rows, run.model.tasks, config.model_copy(update={"fold": number}))
        refuse_one_class(rows, plan, run.model.tasks)
    summaries = []
    for number, folder in folders.items():
        one = config.model_copy(update={"fold": number})
        prepared = prepare(
            one, data, run.model.tasks, run.model.preprocessing, rows=rows, tell=tell
        )
        _tell_leak(prepared, tell)
        with alone_in(folder):
            summary = train(
                run.model_copy(update={"train": one}),
                prepared,
                folder,
                resume=resume,
                tell=tell,
                **settings,
            )
        if summary:
            summaries.append(summary)
    return summaries


def _tell_leak(prepared: Prepared, tell: Tell) -> None:
    plan = prepared.plan
    if prepared.rows.unit == "unknown":
        tell(
            "nobody knows which of these files show the same photograph: scores are by file and "
            "bound nothing (--photograph-from tells it)"
        )
    if plan.leaky:
        tell(
            f"LEAKY: {plan.leaked} of {len(plan.test)} test files show photographs that training "
            "or validation sees too. A score under this protocol measures memory."
        )
