"""Results of trials that nobody trained: drawn answers whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from wbczoo.study.plan.plan import read_plan
from wbczoo.study.plan.trial import Trial
from wbczoo.study.run.results import append_results
from wbczoo.study.run.row import BINS

TASKS = {
    "cell": ("eosinophil", "lymphocyte", "monocyte", "neutrophil"),
    "nucleus": ("mononuclear", "polynuclear"),
}
CLASS_OF = {
    "cell": {name.upper(): name for name in TASKS["cell"]},
    "nucleus": {
        "EOSINOPHIL": "polynuclear", "NEUTROPHIL": "polynuclear",
        "LYMPHOCYTE": "mononuclear", "MONOCYTE": "mononuclear",
    },
}  # fmt: skip

PLAN = """
format = 1
name = "made"
title = "Does a branch help?"
seeds = [0, 1, 2, 3, 4]
bar = "majority"

[data.drawn]
dataset = "synthetic"
path = "smears"

[protocols]
report = { protocol = "report", data = "drawn" }
official = { protocol = "official", data = "drawn" }

[[blocks]]
name = "networks"
backbones = ["squeezenet1_1"]
sequences = ["none", "gru"]
weights = "none"
batch_sizes = [8]
protocols = ["report", "official"]

[[blocks]]
name = "classical"
baselines = ["majority"]
protocols = ["official"]
seeds = [0]

[[published]]
title = "Table 1"
protocol = "report"
columns = { "batch 8" = { batch_size = 8 }, "batch 16" = { batch_size = 16 } }
rows = [{ model = "SqueezeNet", task = "cell", of = { backbone = "squeezenet1_1", sequence = "none" }, values = [0.9876, 0.5] }]

[[claims]]
says = "A branch helps."
source = "a made report"
rule = "exceeds"
protocols = ["official"]
pairs = [[{ sequence = "gru" }, { sequence = "none" }]]

[[claims]]
says = "It reaches .70."
rule = "reaches"
protocols = ["official"]
of = { backbone = "squeezenet1_1", sequence = "none" }
targets = { cell = 0.70 }

[[claims]]
says = "It keeps what it has."
rule = "keeps"
under = "report"
protocols = ["official"]
of = { backbone = "squeezenet1_1", sequence = "none" }
"""  # noqa: E501 - a line of TOML


def made_row(
    trial: Trial,
    chance: Callable[[np.random.Generator, np.ndarray], np.ndarray],
    *,
    photographs: Iterable[str] = tuple(map(str, range(60))),
    files: int = 5,
    best_epoch: int = 2,
    seed: int = 0,
) -> dict[str, Any]:
    """A done trial whose answers are drawn.

    Args:
        chance: gives (P,) how likely each photograph's files are answered rightly, from a
            generator and from (P,) how easy each photograph is, in [0, 1].
        seed: of the photographs; the answers follow the trial as well.
    """
    names = list(photographs)
    easy = np.random.default_rng([seed, 0]).uniform(size=len(names))
    generator = np.random.default_rng([seed, int(trial.key[:8], 16)])
    likely = chance(generator, easy).clip(0, 1)
    labels = [list(CLASS_OF["cell"])[place % 4] for place in range(len(names))]
    answers = []
    for name, label, p in zip(names, labels, likely, strict=True):
        row: list[Any] = [name, None, label]
        for task, classes in TASKS.items():
            right = int(generator.binomial(files, p))
            truth = classes.index(CLASS_OF[task][label])
            counts = [0] * len(classes)
            counts[truth] += right
            counts[(truth + 1) % len(classes)] += files - right
            row.append(counts)
        answers.append(row)
    number = len(names)
    network = trial.how != "baseline"
    epoch = {"train_loss": 1.0, "validation_loss": 1.1}
    epoch |= {f"{side}_{task}_accuracy": 0.5 for side in ("train", "validation") for task in TASKS}
    return {
        "format": 1,
        "key": trial.key,
        "settings": trial.fields,
        "model": trial.model,
        "leaky": trial.train.protocol == "report",
        "unit": "photograph",
        "photographs": number,
        "files": number * files,
        "groups": number,
        "data": [],
        "seconds": 60.0,
        "how": "made",
        "environment": {"device": "none", "processor": "none", "cores": 1,
                        "packages": {"numpy": np.__version__}},
        "weights": {},
        "best_epochs": [best_epoch if network else 0],
        "curves": [[{"epoch": float(n), **epoch} for n in (1, 2, 3)] if network else []],
        "tasks": {
            task: {
                "classes": list(classes),
                "class_of": CLASS_OF[task],
                "reliability": [[number * files / BINS, number * files / BINS / 2, 1.0]] * BINS,
            }
            for task, classes in TASKS.items()
        },
        "answers": answers,
    }  # fmt: skip


def _name(trial: Trial) -> str:
    return f"{trial.train.protocol} {trial.fields['baseline'] or trial.fields['sequence']}"


def gain(points: float, spread: float = 0.0) -> Callable[..., np.ndarray]:
    """A model that answers a file rightly as often as its photograph is easy, and `points` more.

    Args:
        spread: standard deviation of what a seed adds.
    """

    def chance(generator: np.random.Generator, easy: np.ndarray) -> np.ndarray:
        return 0.25 + 0.5 * easy + points + generator.normal(0, spread)

    return chance


def write_study(
    folder: Path, chances: dict[str, Callable[..., np.ndarray]], text: str = PLAN, **row: Any
) -> Path:
    """A folder as `study run` leaves it, with the trials of the models that `chances` names.

    Args:
        chances: `protocol model` -> as `made_row` takes it; a trial of another name is not run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.toml").write_text(text, encoding="utf-8")
    rows = [
        made_row(trial, found, **row)
        for trial in read_plan(folder / "plan.toml").trials().values()
        if (found := chances.get(_name(trial))) is not None
    ]
    append_results(folder / "results.jsonl", rows)
    return folder
