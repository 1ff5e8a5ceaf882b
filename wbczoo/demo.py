"""The demonstration: every step that a user would take, in the order in which they take them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from wbczoo.builder import compose
from wbczoo.config import Part, RunConfig, TrainConfig
from wbczoo.errors import UsageError
from wbczoo.evaluate import evaluate
from wbczoo.export import export
from wbczoo.progress import Tell
from wbczoo.registry import datasets
from wbczoo.runtime import Session, find_images, predict_paths, verify
from wbczoo.study.folds import train_folds

PHOTOGRAPHS = 120
VIEWS = 4
EPOCHS = 8
_ASKED = 4


@dataclass
class Demonstration:
    """What the demonstration ends with, as rows for tables."""

    figures: list[tuple[str, str, str]] = field(default_factory=list)
    answers: list[tuple[str, str, str, str, str]] = field(default_factory=list)
    paths: list[tuple[str, str]] = field(default_factory=list)


def run_demo(out: Path, *, seed: int, tell: Tell) -> Demonstration:
    """Draw, train, evaluate, export, verify, predict; all below `out`.

    Raises:
        UsageError: if `out` is there already.
    """
    if out.exists():
        raise UsageError(f"{out} is there already. Delete it, or give --out a new folder.")
    smears, run, exported = out / "smears", out / "run", out / "export"
    spec = datasets.spec("synthetic")
    assert spec.prepare is not None
    tell(f"drawing {PHOTOGRAPHS} photographs of smears, {VIEWS} views of each")
    spec.prepare(smears, photographs=PHOTOGRAPHS, views=VIEWS, seed=seed)
    dataset = Part(name="synthetic", distribution="wbczoo")
    config = TrainConfig(
        dataset=dataset,
        trainable="all",
        epochs=EPOCHS,
        batch_size=16,
        lr=1e-3,
        schedule="cosine",
        seed=seed,
    )
    composition = compose("mobilenetv2", "bilstm")
    tell(f"training {composition.name} from random weights, {EPOCHS} epochs")
    train_folds(
        RunConfig(model=composition, train=config), smears, run, None, weights="none", tell=tell
    )
    document = evaluate(run, smears, dataset, tell=tell)
    card = export(run, exported, tell=tell)
    verified = verify(exported)
    tell(f"verified: logits differ by {verified.logit_difference:.1g} on a replay")
    found = Demonstration()
    for task, figures in document["tasks"].items():
        for name in ("accuracy", "macro_f1"):
            figure = figures[name]
            interval = f"{figure['low']:.2f} to {figure['high']:.2f}"
            found.figures.append((f"{task} {name}", f"{figure['value']:.3f}", interval))
    found.figures += [
        ("test photographs", str(document["photographs"]), f"{document['files']} files"),
        ("largest difference from PyTorch", f"{card['parity']['difference']:.1g}", ""),
        ("a replay holds", "yes" if verified.ok else "NO", ""),
    ]
    session = Session(exported)
    images = find_images([str(smears / "test")])
    for row in predict_paths(session, images[:: max(1, len(images) // _ASKED)][:_ASKED]):
        cell, nucleus = row["tasks"]["cell"], row["tasks"]["nucleus"]
        name = str(Path(row["path"]).relative_to(smears))
        found.answers.append(
            (
                name,
                cell["class"],
                f"{cell['probability']:.2f}",
                nucleus["class"],
                f"{nucleus['probability']:.2f}",
            )
        )
    found.paths = [
        ("images", str(smears)),
        ("run", str(run)),
        ("curves", str(run / "curves.png")),
        ("export", str(exported / "model.onnx")),
        ("card", str(exported / "card.md")),
    ]
    return found
