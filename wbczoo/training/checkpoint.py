"""A run directory: a model's state and a training's state go to the disk and come back here.

Everything is safetensors and JSON. `last.safetensors` is the one commit point of training: what
it says is so, and a resume goes on from it whatever else lies in the folder.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from wbczoo import files
from wbczoo.config import RunConfig
from wbczoo.errors import Held, UsageError, WbczooError
from wbczoo.model.build import rebuild
from wbczoo.model.fused import FusedClassifier
from wbczoo.model.novelty import Novelty
from wbczoo.model.weights import digest_of

CONFIG = "config.json"
MODEL = "model.safetensors"
LAST = "last.safetensors"
SPLIT = "split.csv"
METRICS = "metrics.jsonl"
SUMMARY = "summary.json"
CURVES = "curves.png"
ENVIRONMENT = "environment.json"
LOCK = ".lock"

_BEGUN = (CONFIG, SPLIT, ENVIRONMENT, METRICS, MODEL, "tensorboard")


@dataclass
class Progress:
    """How far a training has come; what `last.safetensors` says beside the tensors.

    Attributes:
        epoch, step: the next step to take, both from 0; `step` may be the epoch's length, where
            only its validation is left.
        best_epoch: -1 before the first validation.
        metrics_bytes: the length of the part of `metrics.jsonl` that is committed.
        run_digest: of the config and the split; a resume with another one is refused.
        environment: what equal bits depend on.
    """

    epoch: int = 0
    step: int = 0
    best_epoch: int = -1
    best_score: float = 0.0
    best_loss: float = 0.0
    metrics_bytes: int = 0
    run_digest: str = ""
    environment: dict[str, str] | None = None

    def improves(self, row: Mapping[str, float], keep: Literal["best", "last"] = "best") -> bool:
        """Whether the epoch's model is to be kept, by its row; if so it is noted as the best.

        Balanced accuracy decides, for a rare class counts as much; equal scores go by the loss.
        Without validation photographs the last epoch is kept.
        """
        score, loss = row.get("validation_score", 1.0), row.get("validation_loss", 0.0)
        better = (score, -loss) > (self.best_score, -self.best_loss)
        kept = keep == "last" or "validation_score" not in row
        if not (better or kept or self.best_epoch < 0):
            return False
        self.best_epoch, self.best_score, self.best_loss = self.epoch, score, loss
        return True


def refuse_taken(out: Path, resume: bool) -> None:
    """See that a run may be written to a folder, which need not be there.

    Raises:
        UsageError: if it holds anything, unless a run in it is to be resumed.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"{out} is a file; --out wants a folder for the run.")
    found = {path.name for path in out.iterdir() if path.name != LOCK}
    if not found or int(os.environ.get("RANK", "0")) > 0:
        return
    if resume:
        # A training that died before its first commit leaves no more than these.
        seen = {name for name in found if not name.startswith(".")}
        begun = seen <= {*_BEGUN} and (not seen or _is_config(out / CONFIG))
        if (out / LAST).is_file() or begun:
            return
        raise UsageError(
            f"{out} holds no training that could be resumed: it has no {LAST}. Name a new folder."
        )
    if (out / CONFIG).is_file():
        raise UsageError(f"{out} already holds a run. Go on with it by --resume, or name another.")
    raise UsageError(f"{out} is not empty. Name a new folder for the run.")


@contextlib.contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Hold a run's folder for one training; the devices of one training hold it together.

    Raises:
        Held: if another process is training there.
    """
    if int(os.environ.get("RANK", "0")) > 0:
        yield
        return
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)

    def refuse() -> NoReturn:
        raise Held(f"{out} is being trained by another process. Name another.")

    try:
        with files.locked(out / LOCK, refuse, remove=True):
            yield
    finally:
        if made and not any(out.iterdir()):
            out.rmdir()


def _is_config(path: Path) -> bool:
    try:
        RunConfig.read(path)
    except WbczooError:
        return False
    return True


def save_tensors(path: Path, tensors: Mapping[str, Tensor], document: Mapping[str, Any]) -> None:
    """Write tensors with a JSON document as metadata, aside and renamed.

    Raises:
        WbczooError: if the disk is full.
    """
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"format": "1", "wbczoo": json.dumps(document)}
    try:
        with files.written_aside(path) as aside:
            save_file(whole, aside, metadata)
    except SafetensorError as error:  # what safetensors makes of a full disk
        raise WbczooError(
            f"{path} could not be written: {error}. If the disk is full, free some space; what was "
            "there before still stands."
        ) from None


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote.

    Raises:
        WbczooError: if the file is missing, damaged or of another format.
    """
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise WbczooError(f"{path} cannot be read: {error}.") from None
    if metadata.get("format") != "1" or "wbczoo" not in metadata:
        raise WbczooError(
            f"{path} was not written by this version of wbczoo. A model of a loop of your own is "
            "saved by `wbczoo.save_run(model, FOLDER, trained_on=...)`."
        )
    try:
        document = json.loads(metadata["wbczoo"])
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise WbczooError(f"{path} is damaged: what it says of itself cannot be read.")
    return tensors, document


def save_model(folder: Path, model: FusedClassifier, epoch: int) -> None:
    """Write a run's `model.safetensors`; `epoch` is the one that it is from, or -1: untrained."""
    save_tensors(folder / MODEL, model.state_dict(), {"epoch": epoch})


def load_model(folder: Path) -> tuple[RunConfig, FusedClassifier]:
    """Read a run: its config and its best model, in evaluation mode on the CPU.

    Raises:
        UsageError: if `folder` holds no run, or a part that it uses is not installed.
        WbczooError: if its files are damaged, of another version, or do not fit each other.
    """
    if not (folder / CONFIG).is_file():
        raise UsageError(f"{folder} holds no run: it has no {CONFIG}.")
    config = RunConfig.read(folder / CONFIG)
    tensors, _ = load_tensors(folder / MODEL)
    model = rebuild(config.model)
    model.novelty = Novelty.of_state(tensors, model.widths)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise WbczooError(f"{folder / MODEL} does not fit {folder / CONFIG}: {reason}") from None
    if config.train is None and config.trained_on is None:
        model.initial = digest_of(model.state_dict())
    return config, model.eval()


def save_last(
    folder: Path,
    model: FusedClassifier,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    sums: Tensor,
    averaged: nn.Module | None = None,
) -> None:
    """Commit a training's whole state; `sums` are the running sums of its epoch."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    if averaged is not None:
        tensors |= {f"averaged.{name}": tensor for name, tensor in averaged.state_dict().items()}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{key}.{name}"] = value
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    tensors["sums"] = sums
    save_tensors(folder / LAST, tensors, asdict(progress))


def load_last(
    folder: Path,
    model: FusedClassifier,
    optimizer: torch.optim.Optimizer,
    run_digest: str,
    averaged: nn.Module | None = None,
) -> tuple[Progress, Tensor]:
    """Take a training's state up again, in place; returns its progress and running sums.

    Raises:
        UsageError: if it is the state of a run of other settings or data than `run_digest` says.
        WbczooError: if the file is damaged or does not fit the model.
    """
    tensors, document = load_tensors(folder / LAST)
    if document.get("run_digest") != run_digest:
        raise UsageError(
            f"{folder} was trained with other options or other data than these, so it cannot be "
            "resumed with them. Give the same ones, or name a new folder."
        )
    try:
        model.load_state_dict(_below(tensors, "model."))
        if averaged is not None:
            averaged.load_state_dict(_below(tensors, "averaged."))
        for name, parameter in model.named_trainable():
            _load_optimizer_state(optimizer, parameter, name, tensors)
        torch.set_rng_state(tensors["random.cpu"])
        if torch.cuda.is_available() and "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"])
        return Progress(**document), tensors["sums"]
    except (RuntimeError, KeyError, TypeError) as error:
        raise WbczooError(f"{folder / LAST} does not fit this run: {error}.") from None


def _load_optimizer_state(
    optimizer: torch.optim.Optimizer, parameter: nn.Parameter, name: str, tensors: dict[str, Tensor]
) -> None:
    for key in ("step", "exp_avg", "exp_avg_sq"):
        saved = tensors.get(f"optimizer.{key}.{name}")
        if saved is None:  # no step was taken yet
            continue
        if key == "step":  # Adam keeps its count on the CPU, and beside the parameters if fused
            where = parameter.device if optimizer.defaults.get("fused") else saved.device
            optimizer.state[parameter][key] = saved.to(where)
        else:
            # The moments lie in memory as their parameter does (channels last).
            optimizer.state[parameter][key] = torch.empty_like(parameter).copy_(saved)


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
