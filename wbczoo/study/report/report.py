"""A study's plan and results go in here, and its report comes out: one HTML page and Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wbczoo import files
from wbczoo.errors import UsageError, WbczooError
from wbczoo.progress import Tell
from wbczoo.study.plan.plan import find_plan, locate_data, read_plan
from wbczoo.study.report.chapters import BEGUN, compose_report
from wbczoo.study.report.findings import measure_study
from wbczoo.study.report.pages import to_html, to_markdown
from wbczoo.study.run.folder import read_refused
from wbczoo.study.run.results import RESULTS, done_trials

HTML, MARKDOWN = "report.html", "report.md"


def write_report(
    study: Path,
    out: Path | None = None,
    *,
    resamples: int = 2000,
    images: bool = False,
    data: Mapping[str, Path] | None = None,
    tell: Tell,
) -> dict[str, Any]:
    """Write a study's report as `report.html` and `report.md`.

    Args:
        study: the folder that `wbczoo study run --out` wrote, or a plan's file, whose results lie
            in the folder of its name beside it.
        out: where the two files go; the folder of the results if None.
        resamples: of the bootstrap.
        images: embed the photographs that every model gets wrong, where they can be read.
        data: data set -> folder or zip file, over what the plan says; for the images.

    Returns:
        what JSON can hold: the files, counts of trials, claims and comparisons.

    Raises:
        UsageError: if there is no plan, or it cannot be; `data` names a set that it has not; or
            something else than a study's report lies where this one would.
        WbczooError: if no trial is done, or results cannot be read or files written.
    """
    plan_path, results = find_plan(study)
    folder = results or study.with_suffix("")
    out = out or folder
    for path in (out / HTML, out / MARKDOWN):
        if path.exists() and not (path.is_file() and BEGUN in path.read_text(errors="replace")):
            raise UsageError(f"{path} is there, and is no study's report. Give --out a new folder.")
    done = done_trials(plan_path, results)
    refused = read_refused(results)
    found = measure_study(read_plan(plan_path), done, resamples=resamples, refused=refused)
    if not found.counts[0]:
        raise WbczooError(
            f"No trial of the study {found.plan.name} is done: {folder / RESULTS} has none. "
            "Run it first: wbczoo study run."
        )
    paths = locate_data(found.plan, data or {})
    pictured = paths if images else None
    title = found.plan.title or f"The study {found.plan.name}"
    blocks = list(compose_report(found, pictured, tell))
    files.write_text(out / HTML, to_html(title, blocks))
    files.write_text(out / MARKDOWN, to_markdown(title, blocks))
    count, planned = found.counts
    return {
        "html": str(out / HTML),
        "markdown": str(out / MARKDOWN),
        "trials_done": count,
        "trials": planned,
        "claims": [one.describe() for one in found.judged],
        "comparisons": [one.describe() for one in found.comparisons],
    }
