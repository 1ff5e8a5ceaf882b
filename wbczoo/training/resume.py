"""A stopped training is taken up again, if what is asked for now is what was begun then."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from wbczoo import files, machine
from wbczoo.config import Part, RunConfig, Segment
from wbczoo.errors import UsageError, WbczooError
from wbczoo.training import checkpoint
from wbczoo.training.checkpoint import Progress
from wbczoo.training.fit import Fit

# What a split is drawn by: where one of these differs, another split says nothing more.
_DRAWS = {"dataset", "protocol", "part", "fold", "folds", "train_part", "limit_photographs", "seed",
          "tasks"}  # fmt: skip

# Where the command line's word is not the config's.
_OPTIONS = {
    "sequence": "seq",
    "tasks": "task",
    "size": "image-size",
    "dataset.options.photograph_from": "photograph-from",
    "dataset.options.each_file_a_photograph": "each-file-a-photograph",
    "dataset.options.labels": "label",
    "dataset.options.labels_from": "labels",
}
_CAME_WITH_WEIGHTS = ("weights.source", "weights.sha256", "weights.description", "mean", "std")


def digest_run(run: RunConfig) -> str:
    """By which a state is known as this run's: what it was begun with, whatever went on from there.

    At a constant rate epochs may have been added without another segment.
    """
    assert run.train is not None
    _, epochs, lr = run.train.segment(0)
    begun = {"epochs": 1 if run.train.schedule == "constant" else epochs, "lr": lr, "earlier": ()}
    run = run.model_copy(update={"train": run.train.model_copy(update=begun)})
    return hashlib.sha256(run.model_dump_json().encode()).hexdigest()


def read_begun(out: Path) -> RunConfig | None:
    """The run of which a folder holds a training's state; None where it holds none yet.

    Raises:
        WbczooError: if its config is damaged.
    """
    whole = all((out / name).is_file() for name in (checkpoint.LAST, checkpoint.CONFIG))
    return RunConfig.read(out / checkpoint.CONFIG) if whole else None


def data_of_begun(out: Path) -> tuple[Part, ...]:
    """The data sets of the run, or of the folds, that a folder holds; none where it holds none.

    Raises:
        WbczooError: as `read_begun` does.
    """
    for folder in (out, *sorted(out.glob("*-*"))):
        begun = read_begun(folder)
        if begun is not None and begun.train is not None:
            return tuple(begun.train.parts.values())
    return ()


def go_on(begun: RunConfig, asked: RunConfig) -> RunConfig:
    """What is asked for, with the segments that it goes on from.

    More epochs are a new segment, at the rate that is given, behind all that the run was begun
    with; at the same constant rate they only make the last one longer.
    """
    assert begun.train is not None
    assert asked.train is not None
    then, now, earlier = begun.train, asked.train, begun.train.earlier
    if now.epochs > then.epochs and (now.lr != then.lr or then.schedule != "constant"):
        earlier = (*earlier, Segment(epochs=then.epochs, lr=then.lr))
    return asked.model_copy(update={"train": now.model_copy(update={"earlier": earlier})})


def refuse_differences(out: Path, begun: RunConfig, asked: RunConfig, weights: str) -> None:
    """See that a run goes on as it was begun, but for more epochs, and the rate of these.

    Args:
        asked: with the digest of its split.
        weights: a file that is named must be the one that the run began with. Otherwise they do
            not matter, for the run's state holds every weight.

    Raises:
        UsageError: naming each option that differs, with what it was and what it is.
    """
    assert begun.train is not None
    assert asked.train is not None
    then, now = _settings(begun), _settings(asked)
    longer = begun.train.epochs < asked.train.epochs
    if longer:
        now.update({name: then.get(name) for name in ("epochs", "lr", "earlier")})
    hub = [name for name in then if name.startswith("backbone.options.hub_")]
    now.update({name: then[name] for name in (*_CAME_WITH_WEIGHTS, *hub)})
    if Path(weights).is_file():
        now["weights.sha256"] = files.sha256_of(Path(weights))
    differ = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    told = [f"{_option(name)} was {_value(then, name)}, is {_value(now, name)}" for name in differ]
    drawn_otherwise = _DRAWS & {name.partition(".")[0] for name in differ}
    if begun.split_sha256 != asked.split_sha256 and not drawn_otherwise:
        told.append("the images, their photographs or their labels are not those of then")
    if not longer:
        hint = " (another rate is for further epochs: give more --epochs with it)"
        told = [each + hint if each.startswith("--lr ") else each for each in told]
    if told:
        raise UsageError(
            f"{out} was trained with other options or other data than these, so it cannot be "
            f"resumed with them: {'; '.join(told)}. Give the same ones, or name a new folder."
        )


def _settings(run: RunConfig) -> dict[str, Any]:
    """Dotted name -> value of all that decides a training."""
    document = run.model_dump(mode="json")
    found = dict[str, Any]()

    def take(settings: dict[str, Any], prefix: str) -> None:
        for name, value in settings.items():
            if isinstance(value, dict):
                take(value, "" if name == "preprocessing" else f"{prefix}{name}.")
            else:
                found[prefix + name] = value

    take({**document["model"], **document["train"]}, "")
    return found


def _option(name: str) -> str:
    """A setting as the command line calls it."""
    part, _, rest = name.partition(".")
    option = "--" + _OPTIONS.get(name, _OPTIONS.get(part, part)).replace("_", "-")
    if rest in ("distribution", "version"):
        return f"the {rest} of {option}"
    detail = rest.removeprefix("options.")
    return f"{option}-option {detail}" if detail != rest and name not in _OPTIONS else option


def _value(settings: dict[str, Any], name: str) -> str:
    value = settings.get(name)
    return "not given" if value is None else json.dumps(value, ensure_ascii=False)


def take_up(fit: Fit, digest: str) -> None:
    """Go on from the state in the fit's folder, which is that of the run of this digest.

    Raises:
        UsageError: if it is another run's state.
        WbczooError: if what was committed is damaged or gone.
    """
    progress, sums = checkpoint.load_last(fit.out, fit.model, fit.optimizer, digest, fit.averaged)
    refuse_lost(fit.out, progress)
    now = machine.bits_depend_on(fit.accelerator.device.type, fit.bf16)
    then = progress.environment or {}
    changed = [
        f"{key} was {then.get(key)}, is {now[key]}" for key in now if then.get(key) != now[key]
    ]
    if changed:
        fit.tell(
            "This machine differs from the one where the run was stopped "
            f"({'; '.join(changed)}): it goes on, but equal bits are not promised."
        )
    fit.progress = progress
    # The sums are the first device's; with the others at zero their ratios stay right.
    if fit.accelerator.is_main_process:
        fit.sums.copy_(sums)
    fit.tell(f"resuming at epoch {progress.epoch + 1}, step {progress.step + 1}")
    if progress.epoch < fit.config.epochs and fit.accelerator.is_main_process:
        # They speak of the model that the epochs to come replace.
        for stale in (fit.out / checkpoint.SUMMARY, *fit.out.glob("evaluation-*.json")):
            stale.unlink(missing_ok=True)


def refuse_lost(out: Path, progress: Progress) -> None:
    """Fail at once where a resume could not end.

    Raises:
        WbczooError: if a file that was committed is gone.
    """
    metrics = out / checkpoint.METRICS
    lost = progress.best_epoch >= 0 and (
        not (out / checkpoint.MODEL).is_file()
        or not metrics.is_file()
        or metrics.stat().st_size < progress.metrics_bytes
    )
    if lost:
        raise WbczooError(
            f"{out} has lost its {checkpoint.MODEL} or {checkpoint.METRICS}, so it cannot be "
            "resumed. Train it again into a new folder."
        )
