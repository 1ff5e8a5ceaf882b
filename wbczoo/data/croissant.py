"""A data set's description leaves here as Croissant, the JSON-LD that catalogues of data read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from wbczoo import files
from wbczoo.data.layouts import describe_row
from wbczoo.data.prepared import count
from wbczoo.data.samples import Rows
from wbczoo.errors import UsageError, WbczooError
from wbczoo.images.tree import Tree
from wbczoo.machine import how_to_install
from wbczoo.specs import DatasetSpec
from wbczoo.text import format_sources

FIELDS = {
    "file": "Its path.",
    "sha256": "Of its bytes.",
    "part": "Which of the data set's halves it belongs to.",
    "label": "The class, as the data set writes it.",
    "photograph": "What the file was made from; empty where nobody knows.",
    "slide": "The slide that the photograph is of, where it is known.",
    "patient": "Whose blood it is, where it is known.",
    "group": "What must stay on one side of a split.",
    "split": "As the data set was published; empty where it has no split.",
    "laboratory": "Whose slide and camera it is.",
}
_ORIGINS = ("photograph", "slide", "patient", "group", "split", "laboratory")


def write_croissant(rows: Rows, spec: DatasetSpec, out: Path) -> dict[str, str]:
    """Describe a data set by mlcroissant, with a list of its files beside the description.

    The description has a record set `samples`: for each file its label, photograph, slide,
    patient, group, split and laboratory. Paths in it are relative to its own folder.

    Args:
        rows: of one data set.
        spec: what is known of the data set: its licence, page and citation.
        out: the JSON file; the list is called the same, with `.samples.json`.

    Returns:
        `croissant` and `samples`: where they are.

    Raises:
        UsageError: if the data's folder is not below that of `out`, or something else lies there.
        WbczooError: if mlcroissant is not installed, or finds a fault in the description.
    """
    try:
        import mlcroissant as mlc
    except ImportError as error:
        raise WbczooError(
            f"mlcroissant does not load ({error}): {how_to_install('croissant')}"
        ) from None
    assert isinstance(rows.source, Tree)
    root, home = rows.source.root.resolve(), out.resolve().parent
    if root.is_dir() and not root.is_relative_to(home):
        raise UsageError(
            f"{out} would describe files that lie elsewhere. Put it into {root}, or beside it."
        )
    listed = out.with_suffix(".samples.json")
    below = root.relative_to(home).as_posix() if root.is_dir() else ""
    prefix = f"{below}/" if below not in ("", ".") else ""
    # As JSON: of a table, mlcroissant reads the photograph `00019` as a number.
    samples = [
        {"file": f"{prefix}{sample.path}", "sha256": rows.hashes[row], "part": sample.part}
        | {name: describe_row(rows, row)[name] for name in ("label", *_ORIGINS)}
        for row, sample in enumerate(rows.samples)
    ]
    files.write_json(listed, {"samples": samples})
    distribution: list[Any] = [
        mlc.FileObject(
            id="list", name="list", content_url=listed.name, encoding_formats=["application/json"],
            sha256=files.sha256_of(listed), description="What is known of each file.",
        )
    ]  # fmt: skip
    suffixes = sorted({Path(sample.path).suffix for sample in rows.samples})
    if not root.is_dir():
        distribution.append(mlc.FileObject(
            id="archive", name="archive", content_url=os.path.relpath(root, home),
            encoding_formats=["application/zip"], sha256=files.sha256_of(root),
        ))  # fmt: skip
    distribution.append(mlc.FileSet(
        id="images", name="images", encoding_formats=["image/*"],
        contained_in=[] if root.is_dir() else ["archive"],
        includes=[f"{prefix}**/*{suffix}" for suffix in suffixes],
    ))  # fmt: skip

    def field(name: str, about: str) -> Any:
        return mlc.Field(
            id=f"samples/{name}", name=name, description=about, data_types=mlc.DataType.TEXT,
            source=mlc.Source(
                file_object="list", extract=mlc.Extract(json_path=f"$.samples[*].{name}")
            ),
        )  # fmt: skip

    metadata = mlc.Metadata(
        name=rows.dataset,
        description=_describe(rows, spec),
        url=spec.url or None,
        license=[spec.licence] if spec.licence else None,
        cite_as=spec.citation or None,
        data_biases=[spec.confounded] if spec.confounded else None,
        distribution=distribution,
        record_sets=[mlc.RecordSet(
            id="samples", name="samples", key=["samples/file"],
            fields=[field(name, about) for name, about in FIELDS.items()],
        )],
    )  # fmt: skip
    if faults := [*metadata.ctx.issues.errors]:
        raise WbczooError(f"mlcroissant refuses the description: {'; '.join(map(str, faults))}")
    text = json.dumps(metadata.to_json(), indent=2, ensure_ascii=False, default=str)
    files.write_text(out, text + "\n")
    return {"croissant": str(out), "samples": str(listed)}


def _describe(rows: Rows, spec: DatasetSpec) -> str:
    what = f"{len(rows)} images of white blood cells"
    sources = format_sources(count(rows, range(len(rows))), rows.unit)
    known = f" of {sources}" if rows.unit != "unknown" else ""
    return f"{what}{known}, in {len(set(rows.groups))} groups (unit: {rows.unit})."
