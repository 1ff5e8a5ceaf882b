"""A report's blocks become one HTML page that needs nothing beside it, and the same in Markdown."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --quiet: #767676; --soft: #8882; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; }
h2 { font-size: 1.25rem; margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin-top: 1.8rem; }
p, li { max-width: 48rem; overflow-wrap: anywhere; }
nav ol { columns: 18rem; padding-left: 1.4rem; }
a { color: LinkText; }
.scroll { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .875rem; }
th, td { padding: .35rem 1rem .35rem 0; border-bottom: 1px solid var(--line); text-align: left;
         vertical-align: top; font-variant-numeric: tabular-nums; }
td { white-space: nowrap; }
td.wide { white-space: normal; min-width: 16rem; max-width: 44rem; }
th { border-bottom-width: 2px; min-width: 6rem; vertical-align: bottom; }
@media (min-width: 40rem) {
  td:first-child, th:first-child { position: sticky; left: 0; background: Canvas; }
}
.quiet { color: var(--quiet); }
figure { margin: 1rem 0; }
figure img { background: #fff; border-radius: 6px; display: block; }
figcaption { color: var(--quiet); font-size: .875rem; max-width: 48rem; }
.photographs { display: flex; flex-wrap: wrap; gap: .8rem; padding: 0; list-style: none; }
.photographs li { font-size: .8rem; width: 10rem; }
.photographs img { width: 100%; border-radius: 4px; display: block; }
summary { cursor: pointer; font-weight: 600; }
code, pre { background: var(--soft); border-radius: 4px; padding: .1rem .3rem; }
pre { padding: .6rem; overflow-x: auto; }
@media (prefers-color-scheme: dark) { :root { --quiet: #a0a0a0; } }
@media print { .scroll { overflow: visible; } }
"""


NOT_RUN = "not run"


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
    """Rows of text, whose cells may have several lines; `folded` is shown when asked for."""

    caption: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    folded: bool = False


@dataclass(frozen=True)
class Picture:
    """A drawing, shown in the page alone; `told` says in words what it shows."""

    svg: bytes
    told: str


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
    heads = [block.text for block in blocks if isinstance(block, Heading) and block.level == 2]
    lines = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        '<nav aria-label="Contents"><ol>',
        *(f'<li><a href="#{_slug(head)}">{escape(head)}</a></li>' for head in heads),
        "</ol></nav><main>",
    ]
    for block in blocks:
        lines += _in_html(block)
    return "\n".join([*lines, "</main></body></html>"]) + "\n"


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


def _in_html(block: Block) -> Iterator[str]:
    match block:
        case Heading():
            name = f"h{block.level}"
            yield f'<{name} id="{_slug(block.text)}">{escape(block.text)}</{name}>'
        case Text():
            yield f"<p>{_marked(block.text)}</p>"
        case Items():
            yield "<ul>" + "".join(f"<li>{_marked(item)}</li>" for item in block.items) + "</ul>"
        case Command():
            yield f"<pre>{escape(block.text)}</pre>"
        case Table():
            yield from _table(block)
        case Picture():
            data = base64.b64encode(block.svg).decode()
            told = escape(block.told)
            yield (
                f'<figure><div class="scroll" tabindex="0"><img alt="{told}" '
                f'src="data:image/svg+xml;base64,{data}"></div>'
                f"<figcaption>{told}</figcaption></figure>"
            )
        case Photographs():
            yield from _photographs(block)


def _table(block: Table) -> Iterator[str]:
    if block.folded:
        yield f"<details><summary>{escape(block.caption)}</summary>"
    # A column of sentences needs room; one of figures does not.
    wide = [
        max((len(line) for row in block.rows for line in row[place].split("\n")), default=0) > 60
        for place in range(len(block.headers))
    ]
    kinds = [' class="wide"' if one else "" for one in wide]
    caption = "" if block.folded else f"<figcaption>{_marked(block.caption)}</figcaption>"
    yield f'<figure>{caption}<div class="scroll" tabindex="0"><table>'
    heads = zip(kinds, block.headers, strict=True)
    yield "<thead><tr>" + "".join(f"<th{k}>{_lines(text)}</th>" for k, text in heads)
    yield "</tr></thead><tbody>"
    for row in block.rows:
        cells = zip(kinds, row, strict=True)
        # The first line of a row names it.
        first, *others = (f"<td{kind}>{_lines(text)}" for kind, text in cells)
        yield "<tr>" + "</td>".join([_embolden(first), *others]) + "</td></tr>"
    yield "</tbody></table></div></figure>"
    if block.folded:
        yield "</details>"


def _photographs(block: Photographs) -> Iterator[str]:
    if not any(image for _, image in block.named):
        yield "<p>" + ", ".join(f"<code>{escape(name)}</code>" for name, _ in block.named) + "</p>"
        return
    yield '<ul class="photographs">'
    for name, image in block.named:
        data = "" if image is None else base64.b64encode(image).decode()
        shown = f'<img alt="" src="data:image/jpeg;base64,{data}">' if data else ""
        yield f"<li>{shown}{escape(name)}</li>"
    yield "</ul>"


def _row(cells: Sequence[str]) -> str:
    texts = (_plain(cell).replace("|", "\\|").replace("\n", "<br>") for cell in cells)
    return f"| {' | '.join(texts)} |"


def _plain(text: str) -> str:
    """Text that Markdown takes as it is; what stands in backticks stays code."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([\\*_<>#])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def _marked(text: str) -> str:
    """HTML of a sentence; what stands in backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _lines(text: str) -> str:
    lines = [f'<span class="quiet">{t}</span>' if t == NOT_RUN else _marked(t)
             for t in text.split("\n")]  # fmt: skip
    return "<br>".join(lines)


def _embolden(cell: str) -> str:
    """An opened cell with its first line in bold."""
    tag, _, text = cell.partition(">")
    line, break_, rest = text.partition("<br>")
    return f"{tag}><b>{line}</b>{break_}{rest}"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
