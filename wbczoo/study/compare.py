"""Models are compared here as the trials of a study: planned, run, reported on and drawn."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from wbczoo import files, progress
from wbczoo.data.choice import Data
from wbczoo.errors import UsageError
from wbczoo.progress import Tell
from wbczoo.study.new import new_plan
from wbczoo.study.plan.plan import PLAN, StudyPlan, read_plan
from wbczoo.study.plan.write import write_toml

ACCURACY = "accuracy"


def compare(
    data: Data,
    *,
    out: str | os.PathLike[str],
    resamples: int = 2000,
    device: str = "auto",
    tell: Tell = progress.tell,
    **options: Any,
) -> dict[str, Any]:
    """Compare backbones, branches and baselines on one data set: `wbczoo study`, in one call.

    The same call goes on where it was stopped; with more backbones, branches, protocols or seeds
    it adds their trials to those that are done.

    Args:
        data: as `train` takes it.
        out: the folder of the plan, the results, the report and the drawing.
        resamples: of the bootstrap.
        options: `backbones`, `sequences`, `baselines`, `protocols`, `seeds` (how many); `dataset`,
            `dataset_options` and `tasks` as `train` takes them; and its other settings.

    Returns:
        what JSON can hold: `models` (each with its figures under each protocol, their intervals
        and counts), `refused` (why a trial could not be run), `report` and `accuracy`, the files.

    Raises:
        UsageError: if a part, a setting or a protocol cannot be with these data, or `out` holds
            something else.
        WbczooError: if the data cannot be read, the device is not there, or no trial was done.
        KeyboardInterrupt: after Ctrl-C; what is done is kept.
    """
    from wbczoo.evaluation.drawings import check_matplotlib
    from wbczoo.study.report.plots import draw_accuracy
    from wbczoo.study.report.report import write_report
    from wbczoo.study.report.show import describe_models
    from wbczoo.study.run.run import run_study

    check_matplotlib()
    folder = Path(out)
    plan, library = new_plan(data, tell=tell, **options)
    _keep(plan, folder)
    path = folder / PLAN
    done = run_study(path, folder, {}, device=device, library=library, tell=tell)
    report = write_report(folder, resamples=resamples, tell=tell)
    models = describe_models(path, folder, resamples=resamples)
    draw_accuracy(folder / ACCURACY, models, plan.task_names)
    return {
        "models": models,
        "comparisons": report["comparisons"],
        "trials_done": report["trials_done"],
        "trials": report["trials"],
        "refused": done.refused,
        "plan": str(path),
        "report": report["html"],
        "accuracy": str(folder / f"{ACCURACY}.png"),
    }


def _keep(plan: StudyPlan, folder: Path) -> None:
    """Write the plan down, over one of the same comparison that had fewer trials.

    Raises:
        UsageError: if the folder is a file, or holds another plan.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; --out wants a folder for the comparison.")
    path = folder / PLAN
    if path.exists():
        begun = read_plan(path)
        grid = {"epochs", "seeds", "blocks", "protocols", "bar"}
        same = begun.model_dump(exclude=grid) == plan.model_dump(exclude=grid)
        if not same or begun.trials().keys() - plan.trials().keys():
            raise UsageError(
                f"{path} is the plan of another comparison, or of one with trials that this one "
                "has not. Name all that is to be compared again, with the same settings, or give "
                "a new --out."
            )
    folder.mkdir(parents=True, exist_ok=True)
    files.write_text(path, write_toml(plan))
