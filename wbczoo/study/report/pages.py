"""A report's blocks become one HTML page that needs nothing beside it, and the same in Markdown."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from wbczoo.runtime.templates import render
from wbczoo.study.report.words import NEEDS_WEIGHTS, NOT_RUN

DENSITY = 100  # pixels of a drawing to an inch
_WIDE = 60  # letters of a line in a table


@dataclass(frozen=True)
class Heading:
    """A title; `level` 2 stands in the table of contents. `drawn`: of drawings alone."""

    text: str
    level: int = 2
    drawn: bool = False


@dataclass(frozen=True)
class Text:
    """One paragraph."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Command:
    """Lines to be typed."""

    text: str


@dataclass(frozen=True)
class Table:
    """Rows of text, whose texts may have several lines; `folded` is shown when asked for."""

    caption: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    folded: bool = False

    def find_wide(self) -> list[bool]:
        """Which columns hold sentences, and need room; one of figures does not."""
        return [
            any(len(line) > _WIDE for row in self.rows for line in row[place].split("\n"))
            for place in range(len(self.headers))
        ]


@dataclass(frozen=True)
class Picture:
    """A drawing as WebP, shown in the page alone; `told` says in words what it shows.

    `folded`: it is shown when asked for.
    """

    webp: bytes
    told: str
    folded: bool = False

    @property
    def width(self) -> int:
        """In CSS pixels, of which an inch has 96."""
        with Image.open(io.BytesIO(self.webp)) as drawn:
            return round(drawn.width * 96 / DENSITY)


@dataclass(frozen=True)
class Photographs:
    """Names of photographs, each with its small JPEG or None; Markdown has the names."""

    named: tuple[tuple[str, bytes | None], ...]


Block = Heading | Text | Items | Command | Table | Picture | Photographs


def to_markdown(title: str, blocks: Sequence[Block]) -> str:
    """The report in Markdown, without its drawings."""
    parts = [f"# {title}"]
    for block in blocks:
        if not isinstance(block, Picture) and not (isinstance(block, Heading) and block.drawn):
            parts += _in_markdown(block)
    return "\n\n".join(parts) + "\n"


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """The report as one HTML page: no script, and nothing is fetched."""
    return render(
        "study.html",
        title=title,
        heads=[block.text for block in blocks if isinstance(block, Heading) and block.level == 2],
        blocks=[(type(block).__name__, block) for block in blocks],
        slug=_slug,
        quiet=(NOT_RUN, NEEDS_WEIGHTS),
    )


def _in_markdown(block: Block) -> Iterator[str]:
    match block:
        case Heading():
            yield f"{'#' * block.level} {block.text}"
        case Text():
            yield _plain(block.text)
        case Items():
            yield "\n".join(f"- {_plain(item)}" for item in block.items)
        case Command():
            yield f"```\n{block.text}\n```"
        case Table():
            yield _plain(block.caption)
            lines = [_row(block.headers), "|" + "---|" * len(block.headers)]
            yield "\n".join([*lines, *map(_row, block.rows)])
        case Photographs():
            yield ", ".join(f"`{name}`" for name, _ in block.named)


def _row(texts: Sequence[str]) -> str:
    escaped = (_plain(text).replace("|", "\\|").replace("\n", "<br>") for text in texts)
    return f"| {' | '.join(escaped)} |"


def _plain(text: str) -> str:
    """Text that Markdown takes as it is; what stands in backticks stays code."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([\\*_<>#])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
