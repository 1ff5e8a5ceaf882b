"""`wbczoo review`: a person checks what a model proposes, on a page of this machine, and signs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wbczoo.cli.images import images_from, null_option
from wbczoo.cli.options import Real
from wbczoo.cli.results import echo
from wbczoo.cli.runtime_options import (
    engine_option,
    runtime_device_option,
    unknown_above_option,
    unsure_below_option,
)
from wbczoo.machine import how_to_install

_STEPS = """\b
From opening to signing:
  1. No photographs at hand? Draw fields to practise on, and review them:
       wbczoo data prepare practice --dataset synthetic --photographs 8 \\
         --cells-per-field 10..30 --magnification 0.4
       wbczoo review practice --out reviewed
     They are no smears: what the model proposes for them is often wrong.
  2. The browser opens the page: cells by class, above them the doubtful ones.
  3. Decide each doubtful cell by the key of its class; space confirms what is
     proposed, u undoes, and ? shows all keys.
  4. The count beside follows. Ctrl+Enter signs it, once every doubtful cell
     was looked at; reviewed/differential.html is then the page to print.
  5. Ctrl-C ends the command. wbczoo review --check reviewed proves the log."""


@click.command("review", epilog=_STEPS)
@click.argument("images", nargs=-1)
@click.option(
    "--model",
    metavar="PATH|NAME|URL",
    help="Who proposes: a published model's name such as leukocyte-small (wbczoo list names "
    "them), an export's folder or its model.onnx, or hf://OWNER/NAME on a hub.  [default: the "
    "first that is published]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where the review is kept, made if need be; a review that is there goes on.  "
    "[required, but for --check]",
)
@click.option(
    "--check",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Open no page: look in the folder that --out named for lines of the log that were "
    "changed, moved or taken away, and end. Exit code 0: all as it was written; 1: faults, each "
    "told; 2: wrong usage.",
)
@click.option(
    "--task",
    metavar="NAME",
    help="Of a model that tells several things, which is reviewed: --task nucleus asks how "
    "nuclei are shaped, not which cells they are.  [default: the one with most classes]",
)
@click.option(
    "--cells",
    type=click.Choice(["one", "all", "whole"]),
    help="What is looked at: all, each white cell that is found in a photograph; one, its best; "
    "whole, the image uncut, such as a folder of single cells.  [default: all, or whole for a "
    "model that was not trained on cells]",
)
@click.option(
    "--classes",
    multiple=True,
    metavar="CLASS|KEY=CLASS",
    help="Offer a class that the model has not, --classes smudge_cell, or give one another key, "
    "--classes b=basophil; repeats.",
)
@click.option(
    "--ranges",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="CSV",
    help="A table of class,low,high in per cent, shown beside the count; none is built in.",
)
@click.option("--reviewer", metavar="NAME", help="Who reviews.  [default: the page asks once]")
@click.option(
    "--second", metavar="NAME", help="A second reviewer, who sees nothing of the first's decisions."
)
@click.option(
    "--labels-from",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="JSON",
    help="Labels that the reviewer made elsewhere, COCO's or Label Studio's, as decisions.",
)
@click.option(
    "--micrometres",
    type=Real(0, min_open=True),
    metavar="UM",
    help="How wide a pixel of the photographs is; crops then have a scale bar.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to be reached.")
@click.option("--port", type=click.IntRange(0, 65535), help="[default: that of before, or any]")
@click.option("--browser/--no-browser", default=True, help="Open the page.  [default: open it]")
@null_option
@unknown_above_option
@unsure_below_option
@runtime_device_option
@engine_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    images: tuple[str, ...],
    model: str | None,
    out: Path | None,
    check: Path | None,
    host: str,
    port: int | None,
    browser: bool,
    null: bool,
    unknown_above: float | None,
    unsure_below: float | None,
    device: Any,
    engine: Any,
    **wanted: Any,
) -> None:
    """Check each cell that a model proposes, on a page of this machine, and sign the count.

    IMAGES are smear photographs: files, folders with all that is below, archives, or - for paths
    from stdin. The same command goes on where the review was left. Ctrl-C stops it; nothing is
    lost.

    Example: wbczoo review smears/ --model leukocyte-small --out reviewed
    """
    from wbczoo.errors import UsageError

    if check is not None:
        ctx.exit(_check(check, images))
    if out is None or not images:
        raise UsageError("Name the images, and with --out the folder of the review.")
    from wbczoo.images.walk import describe_passed_over
    from wbczoo.progress import tell
    from wbczoo.runtime import Session
    from wbczoo.runtime.devices import cores
    from wbczoo.runtime.folder import find_model
    from wbczoo.runtime.named import resolve

    run, wanted_of = _serve()
    opened = find_model(resolve(model))
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out names {out}, which is no folder; name another.")
    found = images_from(images, null=null)
    paths = [*found]
    if any(Path(each).resolve().is_relative_to(out.resolve()) for each in found.places):
        raise UsageError(f"{out} holds images that are to be reviewed; name another --out.")
    if found.passed_over:
        tell(describe_passed_over(found.passed_over))

    def open_session() -> Session:
        return Session(
            opened, device=device, engine=engine, parallel=cores(), unknown_above=unknown_above,
            unsure_below=unsure_below,
        )  # fmt: skip

    def announce(addresses: dict[str, str]) -> None:
        for name, address in addresses.items():
            echo(f"{name}: {address}" if name else address)
        tell("Ctrl-C stops the review; the same command goes on with it.")
        if browser:
            import webbrowser

            webbrowser.open([*addresses.values()][-1 if wanted["reviewer"] is None else 0])

    try:
        run(out, paths, opened, open_session, wanted_of(**wanted),
            host=host, port=port, announce=announce)  # fmt: skip
    except KeyboardInterrupt:
        tell(f"The review is kept in {out}.")


def _serve() -> Any:
    from wbczoo.errors import WbczooError

    try:
        import starlette
        import uvicorn

        from wbczoo.review.serve import Wanted, run
    except ModuleNotFoundError as error:
        raise WbczooError(
            f"{error.name} is not installed, which reviewing needs: {how_to_install('review')}."
        ) from None
    del starlette, uvicorn
    return run, Wanted


def _check(folder: Path, images: tuple[str, ...]) -> int:
    from wbczoo.images.walk import find_images
    from wbczoo.review.check import check_folder
    from wbczoo.text import printable

    found = check_folder(folder, find_images(images) if images else [])
    for sentence in (*found.faults, *found.unchecked):
        echo(printable(sentence))
    lines = f"{found.lines} line{'s' * (found.lines != 1)}"
    echo(f"{folder}: {lines}, the last one {found.head}")
    if found.faults:
        echo(f"{len(found.faults)} fault{'s' * (len(found.faults) != 1)}")
        return 1
    rest = ", but for what is not checked" if found.unchecked else ""
    echo(
        f"as it was written{rest}"
        + ("" if images else "; name the photographs to compare them too")
    )
    return 0
