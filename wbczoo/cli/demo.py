"""`wbczoo demo`: the whole road once, offline, on smears that the package draws."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wbczoo.cli.options import print_table
from wbczoo.cli.results import echo
from wbczoo.cli.settings import setting
from wbczoo.errors import UsageError
from wbczoo.progress import Tell

if TYPE_CHECKING:
    from wbczoo.runtime.rows import Row

PHOTOGRAPHS = 120
VIEWS = 4
EPOCHS, SIDE = 6, 96  # pixels of the found cell, which is seen better so than the whole at 224
CELLS, SIZE = "9..12", "0.4"  # of the field
_ASKED = 4

Answer = tuple[str, ...]  # image or box, and of each task the class and its probability


@click.command("demo")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs/demo"),
    show_default=True,
    help="A new folder for all that it writes.",
)
@setting("seed", help="Of the drawn images, the weights and the split.")
def command(out: Path, seed: int) -> None:
    """Draw smears, train mobilenetv2 + bilstm a little, measure, export, verify and predict.

    At its end the published model answers each cell of a drawn field, and draws it.

    The images are drawn, so the figures speak of the software and of nothing else.

    Example: wbczoo demo --out runs/demo
    """
    from wbczoo.progress import tell

    found = run_demo(out, seed=seed, tell=tell)
    echo()
    print_table(found.figures, ("drawn smears, protocol official", "value", "95 % interval"))
    echo()
    asked = ("image", "cell", "probability", "nucleus", "probability")
    print_table(found.answers, asked)
    echo(f"\nThe published model {found.published} answers the cells of a drawn field so:\n")
    print_table(found.field_answers, ("box", *asked[1:], "flags"))
    echo()
    print_table(found.paths, ("what", "where"))


@dataclass
class Demonstration:
    """What the demonstration ends with, as rows for tables."""

    figures: list[tuple[str, str, str]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    published: str = ""
    field_answers: list[Answer] = field(default_factory=list)
    paths: list[tuple[str, str]] = field(default_factory=list)


def run_demo(out: Path, *, seed: int, tell: Tell) -> Demonstration:
    """Draw, train, evaluate, export, verify, predict, and find the cells of a whole field.

    Everything is written below `out`.

    Raises:
        UsageError: if `out` is there already.
    """
    from wbczoo import evaluate, export, train, verify
    from wbczoo.registry import datasets
    from wbczoo.runtime import Session, find_images, predict_paths
    from wbczoo.runtime.published import published

    if out.exists():
        raise UsageError(f"{out} is there already. Delete it, or give --out a new folder.")
    smears, run, exported = out / "smears", out / "run", out / "export"
    spec = datasets.spec("synthetic")
    assert spec.prepare is not None
    tell(f"drawing {PHOTOGRAPHS} photographs of smears, {VIEWS} views of each")
    spec.prepare(smears, photographs=PHOTOGRAPHS, views=VIEWS, seed=seed)
    tell(f"training mobilenetv2+bilstm from random weights, {EPOCHS} epochs")
    train(
        "mobilenetv2",
        smears,
        dataset="synthetic",
        sequence="bilstm",
        weights="none",
        trainable="all",
        crop="cell",
        image_size=SIDE,
        epochs=EPOCHS,
        batch_size=16,
        lr=1e-3,
        schedule="cosine",
        seed=seed,
        out=run,
        tell=tell,
    )
    figures = evaluate(run, smears, tell=tell)
    card = export(run, exported, tell=tell)
    verified = verify(exported)
    tell(f"verified: logits differ by {verified.logit_difference:.1g} on a replay")
    found = Demonstration()
    for task in figures:
        for name in ("accuracy", "macro_f1"):
            figure = getattr(figures[task], name)
            interval = f"{figure.low:.2f} to {figure.high:.2f}"
            found.figures.append((f"{task} {name}", f"{figure.value:.3f}", interval))
    document = figures.to_dict()
    found.figures += [
        ("test photographs", str(document["photographs"]), f"{document['files']} files"),
        ("largest difference from PyTorch", f"{card['parity']['difference']:.1g}", ""),
        ("a replay holds", "yes" if verified.ok else "NO", ""),
    ]
    known = published()
    found.published = known.names[0]
    images = find_images([str(smears / "test")])
    images = images[:: max(1, len(images) // _ASKED)][:_ASKED]
    found.answers = [
        (str(Path(row["path"]).relative_to(smears)), *_answer(row))
        for row in predict_paths(Session(exported), images)
    ]
    tell(f"asking the published model {found.published} about every cell of a drawn field")
    fields, pictures = out / "fields", out / "pictures"
    spec.prepare(fields, photographs=8, seed=seed, cells_per_field=CELLS, magnification=SIZE)
    asked = find_images([str(fields)])[:1]
    pictures.mkdir()
    found.field_answers = [
        (" ".join(map(str, row["box"])), *_answer(row), " ".join(row["flags"]))
        for row in predict_paths(Session(known.default), asked, cells="all", draw=pictures)
        if "box" in row
    ]
    found.paths = [
        ("images", str(smears)),
        ("run", str(run)),
        ("curves", str(run / "curves.png")),
        ("export", str(exported / "model.onnx")),
        ("card", str(exported / "card.md")),
        ("field", str(next(pictures.iterdir()))),
    ]
    return found


def _answer(row: Row) -> Answer:
    """The classes of both tasks with their probabilities."""
    answers = [row["tasks"][task] for task in ("cell", "nucleus")]
    return tuple(text for each in answers for text in (each["class"], f"{each['probability']:.2f}"))
