"""Names of parts, protocols and data go in here; a plan comes out, and the text of its file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from wbczoo.config import TrainConfig
from wbczoo.errors import UsageError
from wbczoo.parts import describe_findings
from wbczoo.study.plan.grid import NAMED, Block, Data
from wbczoo.study.plan.plan import StudyPlan

# What a training's settings are called in a block, where that is a list.
_LISTS = {"trainable": "trainable", "batch_size": "batch_sizes", "lr": "learning_rates"}
_ARENA = ("part", "folds", "train_part")

# What stands above a line of the file that is written.
_SAID = {
    "tasks": "What is asked of each image: a shipped task, or NAME=CLASS,CLASS.",
    "seeds": "Each trial is run once for each seed; five are enough for a test.",
    "pairwise": "Every two models of a protocol are compared on the same photographs.",
    "bar": "The baseline that each network is held against.",
    "[data]": "Where the images lie; --data DATASET=PATH says otherwise for once.",
    "[protocols]": "report is LEAKY; official, grouped and laboratory are honest.",
    "[[blocks]]": "Every combination of a block's lists is a trial.",
}


def compose_plan(
    data: Mapping[str, Data],
    *,
    name: str,
    backbones: Sequence[str] = (),
    sequences: Sequence[str] = ("none",),
    baselines: Sequence[str] = (),
    protocols: Sequence[str] = ("grouped",),
    seeds: int = 3,
    tasks: Sequence[str] = ("cell", "nucleus"),
    **options: Any,
) -> StudyPlan:
    """The plan that compares every backbone with every branch, and baselines beside them.

    Args:
        data: name -> data set; of several each is held out in turn, by the protocol `laboratory`.
        backbones, sequences: `none` among both stands for one without the other.
        seeds: how many, from 0.
        tasks: as a plan has them.
        options: other fields of a block (`weights`, `hidden`, `image_size`, `crop`) and of
            `TrainConfig`; what is None is left out.

    Raises:
        UsageError: if nothing is named to compare, or the plan cannot be; the sentence says why.
    """
    given = {name: value for name, value in options.items() if value is not None}
    arena = {name: given.pop(name) for name in _ARENA if name in given}
    settings = {
        key: given.pop(key) for key in TrainConfig.model_fields if key in given and key not in NAMED
    }
    shared: dict[str, Any] = {
        **{_LISTS.get(key, key): [value] if key in _LISTS else value
           for key, value in given.items() if key != "epochs"},
        **({"settings": settings} if settings else {}),
    }  # fmt: skip
    arenas = dict(_arenas(protocols, [*data], arena))
    kinds: dict[str, dict[str, Any]] = {
        "baselines": {"baselines": baselines},
        "networks": {"backbones": [b for b in backbones if b != "none"], "sequences": sequences},
        "branches-alone": {
            "backbones": ["none"] if "none" in backbones else [],
            "sequences": [one for one in sequences if one != "none"],
        },
    }
    blocks = [
        {"name": kind, **lists, **({} if kind == "baselines" else shared), "protocols": [*arenas]}
        for kind, lists in kinds.items()
        if all(lists.values())
    ]
    if not blocks:
        raise UsageError("Nothing is named that could be compared: name --backbone or --seq.")
    document: dict[str, Any] = {
        "format": 1,
        "name": name,
        "tasks": tasks,
        **({"epochs": given["epochs"]} if "epochs" in given else {}),
        "seeds": range(seeds),
        "pairwise": True,
        **({"bar": baselines[0]} if baselines else {}),
        "data": data,
        "protocols": arenas,
        "blocks": blocks,
    }
    try:
        return StudyPlan.model_validate(document)
    except ValidationError as error:
        raise UsageError(describe_findings(error)) from None


def write_toml(plan: StudyPlan) -> str:
    """A plan's file, with a comment on what can be changed; `read_plan` reads the same from it."""
    document = plan.model_dump(mode="json", exclude_unset=True)
    tables = {name: document.pop(name) for name in ("data", "protocols")}
    blocks = document.pop("blocks")
    lines = [text for name, value in document.items() for text in _line(name, value)]
    for title, table in tables.items():
        lines += ["", *_head(f"[{title}]"), *(f"{_key(k)} = {_value(v)}" for k, v in table.items())]
    for place, block in enumerate(blocks):
        head = ["[[blocks]]"] if place else _head("[[blocks]]")
        lines += ["", *head, *(f"{_key(k)} = {_value(v)}" for k, v in block.items())]
    return "\n".join(lines) + "\n"


def _arenas(
    protocols: Sequence[str], data: Sequence[str], said: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for protocol in dict.fromkeys(protocols):
        if (protocol == "laboratory") != (len(data) > 1):
            raise UsageError(
                f"Of {len(data)} data set{'s' * (len(data) != 1)} the protocol {protocol} cannot "
                "be: several are compared by --protocol laboratory, and one by the others."
            )
        if protocol == "laboratory":
            for one in data:
                arena = {"protocol": protocol, "data": [*data], "hold_out": one, **said}
                yield f"{protocol}-{one}", arena
        else:
            yield protocol, {"protocol": protocol, "data": data[0], **said}


def _head(name: str) -> list[str]:
    return [f"# {_SAID[name]}", name] if name in _SAID else [name]


def _line(name: str, value: Any) -> list[str]:
    *comment, _ = _head(name)
    return [*comment, f"{_key(name)} = {_value(value)}"]


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)


def _value(value: Any) -> str:
    """A value as TOML writes it: as JSON does, but for tables."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_key(k)} = {_value(v)}' for k, v in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False)


assert set(_LISTS.values()) <= set(Block.model_fields)
