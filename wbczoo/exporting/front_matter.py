"""The head of a card: what it says in words is written here as the YAML that a model hub reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from wbczoo.evaluation.score import BY_FILE
from wbczoo.text import format_sources

_TASK = "image-classification"

# A hub lists a data set by its name; `folder` is a way to read one, and names none.
_NO_DATA_SET = "folder"


def write_front_matter(card: Mapping[str, Any]) -> str:
    """The card's YAML block, from `---` to `---`.

    The fields are those of Hugging Face's model cards (hub-docs, modelcard.md). A score stands
    with its protocol, photographs and interval in its own name, for a hub shows names alone; what
    leaks says LEAKY there and in the tags. The licence is `other`: code, initial weights and data
    have licences of their own, which the card lists, and nobody has granted one for the whole.

    Args:
        card: what `card.json` holds.

    Raises:
        KeyError, TypeError, AttributeError: if an evaluation in it is damaged.
    """
    results = [result for found in card["evaluations"] for result in _results(found)]
    trained_on = card["data"]["dataset"].split("+") if card["trained"] and card["data"] else []
    named = [name for name in trained_on if name != _NO_DATA_SET]
    scores = {"model_name": card["name"], "eval_results": results} if results else {}
    data = ModelCardData(
        license="other",
        license_name="see-the-card",
        library_name="wbczoo",
        pipeline_tag=_TASK,
        tags=_tags(card),
        datasets=named or None,
        metrics=["accuracy", "f1"] if results else None,
        **scores,
    )
    return f"---\n{data.to_yaml()}\n---"


def _tags(card: Mapping[str, Any]) -> list[str]:
    compositions = [each["composition"] for each in card.get("members", [card])]
    parts = [each[kind]["name"] for each in compositions for kind in ("backbone", "sequence")]
    tags = ["onnx", "white-blood-cells", "haematology", "microscopy"]
    tags += [part for part in dict.fromkeys(parts) if part != "none"]
    if card["leaky"] or any(found["leaky"] for found in card["evaluations"]):
        tags.append("leaky")
    if not card["trained"]:
        tags.append("untrained")
    return tags


def _results(found: Mapping[str, Any]) -> Iterator[EvalResult]:
    """An evaluation's scores; one that is undefined is left out, for a hub wants a number."""
    word = "LEAKY " if found["leaky"] else ""
    photographs = found["photographs"]
    by = BY_FILE if photographs is None else f"over groups of {found['unit']}s"
    for task, figures in found["tasks"].items():
        for kind, name, settings in (
            ("accuracy", "accuracy", None),
            ("f1", "macro_f1", {"average": "macro"}),
        ):
            score = figures[name]
            if score["value"] is None:
                continue
            low, high = score["low"], score["high"]
            yield EvalResult(
                task_type=_TASK,
                task_name=f"{task}: {', '.join(figures['classes'])}",
                dataset_type=found["dataset"],
                dataset_name=(
                    f"{word}{found['dataset']}, protocol {found['protocol']}, {found['part']}: "
                    f"{format_sources(found, found['unit'])}, {found['files']} files"
                ),
                # What tells one result from another: results of equal data are joined by it.
                dataset_config=f"{word}{found['protocol']}, {found['part']}, {task}",
                dataset_split="test",
                dataset_args={
                    "protocol": found["protocol"],
                    "part": found["part"],
                    "fold": found["fold"],
                    "leaky": found["leaky"],
                    "photographs": photographs,
                    "files": found["files"],
                    "groups": found["groups"],
                },
                metric_type=kind,
                metric_name=(
                    f"{word}{name.replace('_f1', '-F1')} of {task}, "
                    f"95 % interval {low:.3f} to {high:.3f} {by}"
                ),
                metric_value=round(score["value"], 4),
                metric_args=settings,
            )
