"""Counts, differences and settings are put into words here, for tables and sentences alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, floor, log10
from typing import Any

from wbczoo.study.plan.plan import StudyPlan
from wbczoo.study.plan.trial import NetworkTrial, Trial
from wbczoo.study.run.row import Row
from wbczoo.text import format_figure

NOT_RUN, NEEDS_WEIGHTS = "not run", "needs weights"


def why_missing(plan: StudyPlan, *sides: Mapping[str, Any]) -> str:
    """Why there is no result: the study lacks a backbone's weights, or it is only not run.

    Args:
        sides: fields of the trials that it would rest on.
    """
    lacking = any(
        side.get("backbone") in plan.needs_weights and side.get("weights") != "none"
        for side in sides
    )
    return NEEDS_WEIGHTS if lacking else NOT_RUN


def explain_missing(plan: StudyPlan, trial: Trial, refused: Mapping[str, str]) -> str:
    """Why a trial has no result, in a sentence without its full stop.

    Args:
        refused: key -> why a trial was refused when it was tried.
    """
    if told := refused.get(trial.key):
        return f"refused: {told.rstrip('.')}"
    if why_missing(plan, trial.fields) == NEEDS_WEIGHTS:
        backbone = trial.fields["backbone"]
        return f"put {backbone}.safetensors into the folder WBCZOO_WEIGHTS"
    return "nobody ran it yet"


def format_counts(rows: Sequence[Row]) -> str:
    """Files, photographs and groups of the tests of rows; a range where seeds differ."""

    def span(name: str) -> str:
        values = sorted({row[name] for row in rows if row[name] is not None})
        return "an unknown number of" if not values else (
            f"{values[0]}" if len(values) == 1 else f"{values[0]} to {values[-1]}"
        )  # fmt: skip

    unit = rows[0]["unit"]
    of, unit = ("groups", unit) if unit in ("slide", "patient") else ("photographs", "photograph")
    return f"{span('files')} files of {span(of)} {unit}s in {span('groups')} groups"


def format_seeds(count: int) -> str:
    """`one seed`, or `5 seeds`."""
    return "one seed" if count == 1 else f"{count} seeds"


def format_points(figure: Mapping[str, float | None]) -> str:
    """`+0.3 points [-2.1, +2.5]`, of a difference of shares; limits rounded outwards.

    As many digits are shown as tell the limits apart; `no difference` where there was never any.
    """
    value, low, high = (figure[name] for name in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return "undefined"
    if value == low == high == 0:
        return "no difference"
    digits = min(4, max(1, ceil(-1 - log10(high - low)))) if high > low else 1
    scale = 10**digits
    low = floor(low * 100 * scale + 1e-9) / scale
    high = ceil(high * 100 * scale - 1e-9) / scale
    text = f"{100 * value:+.{digits}f} points [{low:+.{digits}f}, {high:+.{digits}f}]"
    return text.replace("-", "−")


def describe_setting(trial: Trial) -> str:
    """How a trial is trained or fitted, in a few words, but for its epochs and its seed.

    It names all that tells a trial from another of its model, data, epochs and seed.
    """
    if not isinstance(trial, NetworkTrial):
        fitted = [f"fitted on {trial.train_part}"] if trial.train_part else []
        return ", ".join([*(f"{k} {v}" for k, v in trial.baseline_options.items()), *fitted])
    train = trial.train
    told = [
        (f"{train.trainable}, batch {train.batch_size}, lr {_format_rate(train.lr)}", True),
        (f"hidden {trial.hidden}", trial.hidden != 64),
        (f"{trial.image_size} pixels", trial.image_size),
        (f"crop {trial.crop}", trial.crop),
        *((f"{name} {value}", True) for name, value in trial.backbone_options.items()),
        (f"statistics {trial.statistics}", trial.statistics),
        (f"trained on {train.train_part}", train.train_part),
        (f"precision {train.precision}", train.precision != "fp32"),
        *((f"{name} {value}", True) for name, value in trial.settings.items()),
    ]
    return ", ".join(text for text, shown in told if shown)


def format_published(figure: Mapping[str, float | None]) -> str:
    """`0.5711 [0.45, 0.68]`: four digits, as published accuracies have them."""
    return format_figure(figure, digits=4)


def format_figures(measured: Mapping[str, Mapping[str, float | None]]) -> str:
    """Accuracy and macro-F1, each with its interval."""
    return "; ".join(format_published(measured[name]) for name in ("accuracy", "macro_f1"))


def _format_rate(rate: float) -> str:
    """A learning rate as people write it: `3e-4`."""
    digits, exponent = f"{rate:e}".split("e")
    return f"{float(digits):g}e{int(exponent)}"
