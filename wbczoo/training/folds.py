"""One training, or one for each fold or each laboratory held out, side by side in one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wbczoo.config import RunConfig, TrainConfig
from wbczoo.data.choice import Places, tell_origins
from wbczoo.data.classes import explain_left_out, refuse_one_class, settle_tasks
from wbczoo.data.prepared import Prepared, prepare, read_dataset
from wbczoo.data.splits import plan_split
from wbczoo.errors import UsageError
from wbczoo.progress import Tell
from wbczoo.text import name_source
from wbczoo.training.checkpoint import alone_in, refuse_taken
from wbczoo.training.inference import choose_device
from wbczoo.training.init import find_run, inherit
from wbczoo.training.train import train


def train_folds(
    run: RunConfig,
    places: Places,
    out: Path,
    fold: int | str | None,
    *,
    tell: Tell,
    resume: bool = False,
    tasks_by_default: bool = False,
    init: Path | None = None,
    **settings: Any,
) -> list[dict[str, Any]]:
    """Train under the run's protocol.

    `grouped` trains one fold, or all into `out/fold-K`; `laboratory` holds one out, or each in
    turn into `out/laboratory-NAME`.

    Args:
        fold: a number, or `all` (or None, which means all) for `grouped`; None elsewhere.
        tasks_by_default: nobody named the run's tasks, so that they must know most labels.
        init: a run whose weights are taken, or a folder with one for each fold or laboratory.
        settings: of `wbczoo.training.train.train`.

    Returns:
        the summaries, one for each training.

    Raises:
        UsageError, WbczooError: as `prepare` and `train` do.
    """
    config = run.train
    assert config is not None
    if fold is not None and config.protocol != "grouped":
        raise UsageError(f"--fold belongs to --protocol grouped, not to {config.protocol}.")
    if config.hold_out is not None and config.protocol != "laboratory":
        raise UsageError(f"--hold-out belongs to --protocol laboratory, not to {config.protocol}.")
    turns: dict[Path, dict[str, Any]] = {out: {}}
    if config.protocol == "grouped":
        numbers = range(config.folds) if fold in (None, "all") else [int(fold or 0)]
        alone = len(numbers) == 1
        turns = {out if alone else out / f"fold-{n}": {"fold": n} for n in numbers}
    # What can be refused at once is refused before the data are read.
    choose_device(settings.get("device", "auto"))
    for folder in turns:
        refuse_taken(folder, resume)
    rows = read_dataset(config, places, tell)
    if tasks_by_default and (left := explain_left_out(rows, run.model.tasks)):
        raise UsageError(left)
    run = run.with_tasks(settle_tasks(rows, run.model.tasks))
    if config.protocol == "laboratory" and config.hold_out == "all":
        names = sorted(set(rows.laboratories))
        turns = {out / f"laboratory-{name}": {"hold_out": name} for name in names}
        for folder in turns:
            refuse_taken(folder, resume)
    for turn in turns.values():
        plan = plan_split(rows, run.model.tasks, config.model_copy(update=turn))
        refuse_one_class(rows, plan, run.model.tasks)
    summaries = []
    for place, (folder, turn) in enumerate(turns.items(), 1):
        if len(turns) > 1:
            which = "".join(f"{what.replace('_', ' ')} {value}" for what, value in turn.items())
            tell(f"{which}: training {place} of {len(turns)}, into {folder}")
        one = config.model_copy(update=turn)
        prepared = prepare(
            one, places, run.model.tasks, run.model.preprocessing, rows=rows, tell=tell
        )
        start = None if init is None else find_run(init, turn)
        if start is not None:
            prepared = inherit(start, prepared, tell)
        _tell_leak(prepared, one, tell)
        with alone_in(folder):
            summary = train(
                run.model_copy(update={"train": one}),
                prepared,
                folder,
                resume=resume,
                init=start,
                tell=tell,
                **settings,
            )
        if summary:
            summaries.append(summary)
    return summaries


def _tell_leak(prepared: Prepared, config: TrainConfig, tell: Tell) -> None:
    plan = prepared.plan
    if prepared.rows.unit == "unknown":
        tell(
            "nobody knows which of these files show the same photograph: scores are by file and "
            f"bound nothing. {tell_origins(config.parts.values())}"
        )
    if plan.leaky:
        tell(
            f"LEAKY: {plan.leaked} of {len(plan.test)} test files are of "
            f"{name_source(prepared.rows.unit)}s that training or validation sees too. A score "
            "under this protocol measures memory."
        )
