"""The reference of specs and checks, docs/specs.md, is made from the code's docstrings here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe

from wbczoo import testing

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "specs.md"
CLASSES = (
    "BackboneSpec", "SequenceSpec", "DatasetSpec", "BaselineSpec", "Spec", "Preprocessing",
    "Sample",
)  # fmt: skip
OPENING = """# Reference of specs

What a plugin declares, field by field, and what is checked. `python tools/make_reference.py` makes
this page from the docstrings of `wbczoo/specs.py` and `wbczoo/testing`; change it there. How a
plugin is written is told in the [tutorial](tutorial.md).

N counts images, H and W pixels, C channels, h and w the positions of a feature map.

An entry point of the group `wbczoo.backbones`, `wbczoo.sequences`, `wbczoo.datasets` or
`wbczoo.baselines` resolves to one spec, or to a family.

## Family

A mapping of names to specs that are made when they are asked for; `timm/*` is one. The entry point
`mine` makes its members `mine/NAME`. Asking for a member imports no framework; iterating may.

| attribute | type | what it is |
|---|---|---|
| `requires` | `tuple[str, ...]` | may be left out; as of a spec, for all members. |
| `licence` | `str` | may be left out; as of a spec, for the family's own code. |
| `smallest_of_each` | `(size) -> Iterable[tuple[str, str or None, str]]` | may be left out; \
architecture, its smallest member that accepts (H, W) pixels or None, and why there is none, for \
`--family` of `wbczoo plugin check`. |
"""


def make_page() -> str:
    """The whole page as Markdown."""
    specs: Any = griffe.load("wbczoo.specs", search_paths=[ROOT])
    parts = [OPENING]
    for name in CLASSES:
        parts += _describe_class(specs[name])
    parts += ["## Checks\n", *_describe_checks()]
    return "\n".join(parts)


def _describe_class(found: Any) -> Iterator[str]:
    yield f"## {found.name}\n"
    for section in found.docstring.parse("google"):
        if section.kind is griffe.DocstringSectionKind.text:
            yield f"{section.value}\n"
            bases = [str(base) for base in found.bases]
            if bases:
                yield f"It has the fields of [{bases[0]}](#{bases[0].lower()}) too.\n"
        elif section.kind is griffe.DocstringSectionKind.attributes:
            yield "| field | type | default | what it is |"
            yield "|---|---|---|---|"
            for each in section.value:
                yield _describe_field(found, each.name, each.description)
            yield ""
        elif section.kind is griffe.DocstringSectionKind.raises:
            yield "| error | when |"
            yield "|---|---|"
            for each in section.value:
                yield f"| `{each.annotation}` | {_line(each.description)} |"
            yield ""


def _describe_field(found: Any, field: str, description: str) -> str:
    attribute = found.attributes[field]
    default = {each.name: each.default for each in found.parameters}.get(field)
    told = "" if default is None else f"`{default}`"
    kind = str(attribute.annotation).replace("|", "or")
    return f"| `{field}` | `{kind}` | {told} | {_line(description)} |"


def _describe_checks() -> Iterator[str]:
    yield "`wbczoo plugin check` and `wbczoo.testing.parametrize_with_checks` run these.\n"
    for kind, checks in testing.CHECKS.items():
        yield f"### Checks of a {kind.__name__}\n"
        yield "| check | what holds |"
        yield "|---|---|"
        for check in checks:
            told = (check.__doc__ or "").strip().partition("\n\n")[0]
            yield f"| `{check.__name__}` | {_line(told)} |"
        yield ""


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(make_page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
