"""One export, start to end: graph, parity gate, example, card; then one rename puts it in place."""

from __future__ import annotations

import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from wbczoo import checkpoint, files
from wbczoo.errors import UsageError, WbczooError
from wbczoo.export import card, example, parity
from wbczoo.export.graph import DEFAULT_OPSET, write_graph
from wbczoo.progress import Tell
from wbczoo.runtime.session import Session

FILES = ("model.onnx", "card.json", "card.md", "example.npz")

_PARITY_IMAGES = max(parity.BATCHES)


def export(
    run_folder: Path,
    out: Path,
    *,
    images: Path | None = None,
    opset: int = DEFAULT_OPSET,
    overwrite: bool = False,
    tell: Tell = print,
) -> dict[str, Any]:
    """Export a run as `model.onnx`, `card.json`, `card.md` and `example.npz`.

    Args:
        run_folder: a trained run, or one that `build --out` saved.
        out: a new folder; an earlier export is replaced if `overwrite`.
        images: real images for the parity gate; the run's own cached ones if None.
        opset: of the ONNX standard's default domain, at least 18.

    Returns:
        what `card.json` holds.

    Raises:
        UsageError: if there is no run, or `out` is taken.
        WbczooError: if the graph cannot be made or misses parity; then nothing is written.
    """
    out = out.resolve()
    _claim(out, overwrite)
    run, model = checkpoint.load_model(run_folder)
    preprocessing = run.model.preprocessing
    drawn = example.synthetic_images(preprocessing)
    if images is not None:
        compared, source = example.given_images(images, preprocessing, _PARITY_IMAGES), str(images)
    else:
        compared = example.cached_images(run_folder, preprocessing, _PARITY_IMAGES)
        source = "training images"
    if len(compared) == 0:
        compared, source = drawn, "synthetic images"
        tell(
            "parity is measured on synthetic images, for the run has no cached ones; "
            "--images PATH measures it on real ones"
        )
    weights_sha256 = files.sha256_of(run_folder / checkpoint.MODEL)
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    replaced = aside.with_name(f"{aside.name}.replaced")
    try:
        graph = aside / "model.onnx"
        tell("writing the graph")
        write_graph(model, run, graph, weights_sha256, opset)
        tell(f"comparing it with PyTorch on {len(compared)} {source}")
        found = parity.compare(model, graph, compared, source)
        if math.isnan(found.difference):
            raise WbczooError(
                f"{run_folder} answers with NaN: its weights are no numbers. Train it again with a "
                "smaller --lr."
            )
        if not found.holds:
            raise WbczooError(
                f"The exported graph differs from PyTorch by {found.difference:.3g} in a logit, "
                f"and {found.bound:.3g} is allowed; it was not written. Another --opset may help; "
                "the part that differs should be reported to its author."
            )
        # The example holds what this file answers, so that a replay elsewhere tells that place.
        arrays: dict[str, Any] = {"images": drawn, **Session(graph, device="cpu").run(drawn)}
        np.savez_compressed(aside / "example.npz", **arrays)
        document = card.describe(run, run_folder, aside, found, weights_sha256, opset)
        files.write_json(aside / "card.json", document)
        try:
            files.write_text(aside / "card.md", card.to_markdown(document))
        except (KeyError, TypeError, AttributeError) as error:
            raise WbczooError(
                f"A summary or evaluation in {run_folder} is damaged: {error} is missing or "
                "strange. Delete that file, or evaluate the run again."
            ) from None
        aside.chmod(0o755)
        if out.exists():
            # The earlier export is whole at every moment: it moves, and goes when this one stands.
            out.rename(replaced)
        aside.rename(out)
    finally:
        if replaced.exists() and not out.exists():
            replaced.rename(out)
        shutil.rmtree(replaced, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)
    return document


def _claim(out: Path, overwrite: bool) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"{out} is a file; --out wants a folder for the export.")
    found = {path.name for path in out.iterdir()}
    if not found:
        return
    if not (out / "card.json").is_file():
        raise UsageError(f"{out} is not empty and holds no export. Name a new folder.")
    if strange := sorted(found - set(FILES)):
        raise UsageError(
            f"{out} holds something else than an export ({', '.join(strange[:3])}), which must not "
            "be lost. Name another folder."
        )
    if not overwrite:
        raise UsageError(f"{out} already holds an export. Give --overwrite, or name another.")
