"""GeoJSON leaves the command line here, a document for each image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from wbczoo.cli.results import stream

if TYPE_CHECKING:
    from wbczoo.images.walk import Images
    from wbczoo.runtime.geojson import Document
    from wbczoo.runtime.rows import Count

_SUFFIXES = (".geojson", ".json")  # what QuPath takes for one


def claim_collections(named: str | None, found: Images, *, overwrite: bool) -> Path | None:
    """The place that `--out` names, where a document for each image may go.

    Raises:
        UsageError: as `claim_file` and `claim_folder`; if several would go to one place, or to a
            URL.
    """
    from wbczoo.errors import UsageError
    from wbczoo.images.file import claim_file, claim_folder
    from wbczoo.images.urls import is_url

    if named is not None and is_url(named):
        raise UsageError("--format geojson writes to this machine; name a file or folder of it.")
    out = None if named is None else Path(named)
    if found.total != 1 and (out is None or not _is_folder(out)):
        raise UsageError(
            "GeoJSON is a document for each image, and several may be meant; name a folder for "
            "them with --out."
        )
    if out is not None:
        claim = claim_folder if _is_folder(out) else claim_file
        claim(out, "--out", overwrite=overwrite, inputs=found.places)
    return out


def _is_folder(out: Path) -> bool:
    """Whether `--out` names a folder for documents, and no document."""
    return out.is_dir() or out.suffix.lower() not in _SUFFIXES


def write_collections(
    documents: Iterable[Document], out: Path | None, advance: Callable[[int], object]
) -> Count:
    """A document for each image; why one was refused is said on stderr, for none can hold it."""
    from wbczoo.files import flat_name
    from wbczoo.progress import tell
    from wbczoo.runtime.rows import Count, write_jsonl
    from wbczoo.text import format_number, printable

    count, written = Count(0, 0), None
    folder = out is not None and _is_folder(out)
    for document in documents:
        if "error" in document:
            tell(printable(f"{document['path']}: {document['error']}"))
            count += Count(0, 1)
        elif out is None:
            count += write_jsonl([document], stream())
        else:
            target = out / flat_name(document["path"], ".geojson") if folder else out
            with _opened_aside(target) as opened:
                count += write_jsonl([document], opened)
                written = target
        advance(1)
    if out is not None and written is not None:
        documents_in = f", {format_number(count.images - count.refused, 'document')}"
        tell(f"written: {out}" + documents_in * folder)
    return count


@contextmanager
def _opened_aside(target: Path) -> Iterator[TextIO]:
    from wbczoo import files

    with (
        files.written_aside(target) as aside,
        aside.open("w", encoding="utf-8", newline="") as opened,
    ):
        yield opened
