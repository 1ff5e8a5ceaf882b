"""`evaluate` end to end: load what was given, score its test photographs, write the figures."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from wbczoo import files, progress
from wbczoo.config import Part, TrainConfig
from wbczoo.data.choice import Data, Places, choose_data
from wbczoo.data.prepared import read_dataset
from wbczoo.data.samples import Rows
from wbczoo.errors import UsageError
from wbczoo.evaluation.drawings import explain_no_matplotlib
from wbczoo.evaluation.figures import Evaluation
from wbczoo.evaluation.opened import Opened, find_folders, is_run, open_ensemble, open_model
from wbczoo.evaluation.results import write_results
from wbczoo.evaluation.score import (
    Scored,
    asked_of,
    report,
    score,
    tested_laboratories,
)
from wbczoo.images.file import claim_folder
from wbczoo.progress import Tell
from wbczoo.runtime.named import resolve


def evaluate(
    model: str | os.PathLike[str],
    data: Data,
    *,
    dataset: str | Part | None = None,
    dataset_options: Mapping[str, object] | None = None,
    protocol: str | None = None,
    part: str | None = None,
    fold: int | None = None,
    ensemble: bool = False,
    resamples: int = 2000,
    device: str = "auto",
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    tell: Tell = progress.tell,
) -> Evaluation:
    """Measure a run (also one of folds) or an export; a run keeps the document in its folder.

    Args:
        model: a run, its folder, or an export as `wbczoo.load` takes it. Exports need no torch.
        data: the data set's folder or archive; of several data sets a mapping, as `train` takes it.
        dataset: a data set's name, with `dataset_options` that it declares, or a part of a
            config; the model's own, with its options, if None. An option that was added later
            than the model was made is, unless it is given, as the model was trained with.
        protocol, part, fold: the model's own where None.
        ensemble: let all runs of the folder `model` answer each image together.
        out: a folder for `predictions.csv`, `errors.html`, and drawings where matplotlib is there.
        overwrite: replace what has these names in it.

    Raises:
        UsageError, WbczooError: as `score` and `resolve` do, and if `model` is none of these.
    """
    model = resolve(model)
    if out is not None:
        out = Path(out)
        _claim(out, data, overwrite=overwrite)
    undrawn = None if out is None else explain_no_matplotlib()
    if undrawn:
        tell(f"{out} gets no drawings, only tables and the page: {undrawn}")
    given = {"protocol": protocol, "part": part, "fold": fold}
    named = dataset is not None or isinstance(data, Mapping)
    rows: Rows | None = None
    scored: list[Scored] = []
    opened = _open(model, device, None if ensemble else fold, ensemble=ensemble)
    for one in opened:
        run = one.run
        kept = tuple(run.train.parts.values()) if run.train else ()
        parts, places = choose_data(data, dataset or "folder", dataset_options, kept)
        bare = TrainConfig(**parts) if named else _as_trained(run.train, one.folder)
        if run.train and run.train.datasets and not isinstance(places, Mapping):
            # Its groups are known by the names that data sets have where there are several.
            bare, places = _as_several(bare, places, one.folder)
        asked = asked_of(run.train, bare, given)
        if fold is not None and asked.protocol != "grouped":
            raise UsageError(f"--fold belongs to --protocol grouped, not to {asked.protocol}.")
        try:
            rows = rows or read_dataset(asked, places, tell)
        except UsageError as error:
            raise UsageError(f"{error}{_tell_own(run.train, asked)}") from None
        tested = tested_laboratories(run.train, asked, rows, own=len(opened) > 1)
        answered = score(
            run.model,
            run.train,
            asked,
            rows,
            one.seen,
            one.split_sha256,
            one.predict,
            tell,
            tested,
            one.reviewed,
        )
        scored.append(replace(answered, sets=one.sets))
    if not all(each.checked for each in scored):
        tell(
            "an export keeps no list of its photographs: nobody checked that it has not seen these "
            "(evaluating the run does)"
        )
    document = report(opened[-1].name, run.model.tasks, scored, resamples=resamples)
    if ensemble or is_run(opened[0].folder):
        word = "ensemble-" if ensemble else ""
        name = f"{word}{document['protocol']}-{document['part']}-{document['dataset']}"
        files.write_json(model / f"evaluation-{name}.json", document)
    if out is not None:
        limits = [one.limits for one in opened]
        write_results(
            out, document, run.model.tasks, scored, limits, run.model.preprocessing,
            drawn=not undrawn,
        )  # fmt: skip
    return Evaluation(document)


def _open(model: Path, device: str, fold: int | None, *, ensemble: bool) -> list[Opened]:
    """The model that is measured, or those of several folds, or only that of one."""
    if ensemble:
        return [open_ensemble(model, device)]
    folders = find_folders(model)
    if len(folders) > 1 and fold is not None:
        folders = [folder for folder in folders if folder.name == f"fold-{fold}"]
        if not folders:
            raise UsageError(f"{model} has no fold {fold}.")
    return [open_model(folder, device) for folder in folders]


def _as_several(bare: TrainConfig, root: Path, folder: Path) -> tuple[TrainConfig, Places]:
    if bare.datasets:
        each = " ".join(f"--data {name}=PATH" for name in bare.datasets)
        raise UsageError(
            f"{folder} was trained on several data sets. Say where each lies that is given: wbczoo "
            f"evaluate {folder} {each}"
        )
    name = bare.dataset.name
    return TrainConfig(datasets={name: bare.dataset}), {name: root}


def _as_trained(trained: TrainConfig | None, folder: Path) -> TrainConfig:
    """The model's own config, whose data set is asked for where none is named."""
    trained = trained or TrainConfig()
    for part in trained.parts.values():
        if lost := part.files_to_name:
            raise UsageError(
                f"{folder} keeps no path of the file that its {lost[0]} was. Name it again, with "
                f"dataset={part.name!r} and dataset_options."
            )
    return trained


def _tell_own(trained: TrainConfig | None, asked: TrainConfig) -> str:
    """What to type where images are no class folders, and the model learned from one data set."""
    own = trained.dataset.name if trained and not trained.datasets else "folder"
    if asked.datasets or asked.dataset.name != "folder" or own == "folder":
        return ""
    return f" The model was trained on {own}: if these are laid out as it is, give --dataset {own}."


def _claim(out: Path, data: Data, *, overwrite: bool) -> None:
    roots = [Path(root) for root in (data.values() if isinstance(data, Mapping) else [data])]
    if any(out.resolve().is_relative_to(root.resolve()) for root in roots):
        raise UsageError(
            f"--out names {out}, which lies among the images that are read; name another folder."
        )
    claim_folder(out, "--out", overwrite=overwrite, inputs=roots)
