"""`evaluate` end to end: load what was given, score its test photographs, write the figures."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from wbczoo import files, progress
from wbczoo.cells.crop import explain_other_finder
from wbczoo.config import Part, RunConfig, TrainConfig
from wbczoo.data.choice import Data, Places, choose_data
from wbczoo.data.prepared import read_dataset
from wbczoo.data.samples import Rows
from wbczoo.errors import UsageError
from wbczoo.evaluation.answer import Predict, predict_with_session, predict_with_torch
from wbczoo.evaluation.drawings import check_matplotlib
from wbczoo.evaluation.figures import Evaluation
from wbczoo.evaluation.leakage import Seen
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
from wbczoo.runtime.flags import Limits
from wbczoo.runtime.folder import CONFIG, MODEL


def evaluate(
    model: str | os.PathLike[str],
    data: Data,
    *,
    dataset: str | Part | None = None,
    dataset_options: Mapping[str, object] | None = None,
    protocol: str | None = None,
    part: str | None = None,
    fold: int | None = None,
    resamples: int = 2000,
    device: str = "auto",
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    tell: Tell = progress.tell,
) -> Evaluation:
    """Measure a run (also one of folds) or an export; a run keeps the document in its folder.

    Args:
        model: a run, its folder, an export's folder, or a lone ONNX file. Exports need no torch.
        data: the data set's folder or archive; of several data sets a mapping, as `train` takes it.
        dataset: a data set's name, with `dataset_options` that it declares, or a part of a
            config; the model's own, with its options, if None. An option that was added later
            than the model was made is, unless it is given, as the model was trained with.
        protocol, part, fold: the model's own where None.
        out: a folder for `predictions.csv`, drawings and `errors.html`.
        overwrite: replace what has these names in it.

    Raises:
        UsageError, WbczooError: as `score` does, and if `model` is none of these.
    """
    model = Path(model)
    if out is not None:
        check_matplotlib()
        out = Path(out)
        _claim(out, data, overwrite=overwrite)
    given = {"protocol": protocol, "part": part, "fold": fold}
    named = dataset is not None or isinstance(data, Mapping)
    folders = _folders(model)
    if len(folders) > 1 and fold is not None:
        folders = [folder for folder in folders if folder.name == f"fold-{fold}"]
        if not folders:
            raise UsageError(f"{model} has no fold {fold}.")
    rows: Rows | None = None
    scored: list[Scored] = []
    limits: list[Limits | None] = []
    run: RunConfig | None = None
    for folder in folders:
        run, seen, predict, own, reviewed = _load(folder, device)
        limits.append(own)
        kept = tuple(run.train.parts.values()) if run.train else ()
        parts, places = choose_data(data, dataset or "folder", dataset_options, kept)
        bare = TrainConfig(**parts) if named else _as_trained(run.train, folder)
        if run.train and run.train.datasets and not isinstance(places, Mapping):
            # Its groups are known by the names that data sets have where there are several.
            bare, places = _as_several(bare, places, folder)
        asked = asked_of(run.train, bare, given)
        if fold is not None and asked.protocol != "grouped":
            raise UsageError(f"--fold belongs to --protocol grouped, not to {asked.protocol}.")
        rows = rows or read_dataset(asked, places, tell)
        tested = tested_laboratories(run.train, asked, rows, own=len(folders) > 1)
        scored.append(
            score(
                run.model,
                run.train,
                asked,
                rows,
                seen,
                run.split_sha256,
                predict,
                tell,
                tested,
                reviewed,
            )
        )
    assert run is not None
    if not all(one.checked for one in scored):
        tell(
            "an export keeps no list of its photographs: nobody checked that it has not seen these "
            "(evaluating the run does)"
        )
    document = report(run.model.name, run.model.tasks, scored, resamples=resamples)
    if _is_run(folders[0]):
        name = f"evaluation-{document['protocol']}-{document['part']}-{document['dataset']}.json"
        files.write_json(model / name, document)
    if out is not None:
        write_results(out, document, run.model.tasks, scored, limits, run.model.preprocessing)
    return Evaluation(document)


def _as_several(bare: TrainConfig, root: Path, folder: Path) -> tuple[TrainConfig, Places]:
    if bare.datasets:
        raise UsageError(
            f"{folder} was trained on several data sets, {', '.join(bare.datasets)}. Say which are "
            "given, and where: --data NAME=PATH."
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


def _folders(model: Path) -> list[Path]:
    folds = [
        path
        for path in (model.glob("fold-*") if model.is_dir() else ())
        if re.fullmatch(r"fold-\d+", path.name) and _is_run(path)
    ]
    if folds:
        return sorted(folds, key=lambda path: int(path.name.split("-")[1]))
    held_out = sorted(model.glob("laboratory-*")) if model.is_dir() else []
    if runs := [path for path in held_out if _is_run(path)]:
        return runs
    if _is_run(model) or _is_export(model):
        return [model]
    raise UsageError(
        f"{model} is neither a run (config.json with model.safetensors) nor an export (model.onnx)."
    )


def _is_export(path: Path) -> bool:
    return path.suffix == ".onnx" or any((path / each).is_file() for each in (MODEL, CONFIG))


def _is_run(path: Path) -> bool:
    return (path / "config.json").is_file() and (path / "model.safetensors").is_file()


def _load(
    folder: Path, device: str
) -> tuple[RunConfig, Seen | None, Predict, Limits | None, frozenset[str]]:
    """The config, what was seen if known, how to ask, limits, and what it was adapted to."""
    if not _is_run(folder):
        from wbczoo.runtime.opening import Device
        from wbczoo.runtime.session import Session

        if device == "mps":
            raise UsageError("An export runs on cpu or cuda; --device mps is for runs.")
        session = Session(folder, device=cast(Device, device))
        predict, reviewed = predict_with_session(session), session.file.reviewed
        return session.config, None, predict, session.limits, reviewed
    from wbczoo.training.checkpoint import SPLIT, SUMMARY, load_model

    run, model = load_model(folder)
    if other := explain_other_finder(run.model.finder_sha256):
        progress.tell(f"{folder}: {other}")
    seen = Seen.nothing() if run.train is None else Seen.read(folder / SPLIT, run.split_sha256)
    if run.trained_on is not None:
        progress.tell(
            f"WARNING: {folder} was trained elsewhere, so nobody knows which of these photographs "
            "it has seen"
        )
    limits = _limits_of(folder / SUMMARY)
    return run, seen, predict_with_torch(model, device), limits, frozenset()


def _claim(out: Path, data: Data, *, overwrite: bool) -> None:
    roots = [Path(root) for root in (data.values() if isinstance(data, Mapping) else [data])]
    if any(out.resolve().is_relative_to(root.resolve()) for root in roots):
        raise UsageError(
            f"--out names {out}, which lies among the images that are read; name another folder."
        )
    claim_folder(out, "--out", overwrite=overwrite, inputs=roots)


def _limits_of(summary: Path) -> Limits | None:
    """The limits of flags that a training fitted, if any."""
    found = files.read_json(summary).get("limits") if summary.is_file() else None
    if not isinstance(found, dict):
        return None
    return Limits(found.get("unknown_above"), found.get("unsure_below", {}))
