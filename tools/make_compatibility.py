"""The page of what composes with what, docs/compatibility.md, is made from its rows here."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from wbczoo.testing.breadth import BRANCHES, Row, read_rows, summarise

ROOT = Path(__file__).resolve().parents[1]
ROWS = ROOT / "docs" / "compatibility.jsonl"
PAGE = ROOT / "docs" / "compatibility.md"
OPENING = """# Compatibility

The families `timm/*` and `torchvision/*` reach every classification model of timm and torchvision.
This table holds the smallest member of each of their architectures that accepts 224 x 224 pixels,
with each sequence branch: built, asked, trained for a step, exported to ONNX, and compared with
PyTorch in batches of 1, 3 and 17, the branch's weights drawn large. An architecture is one module
of models in timm or torchvision; timm's models for its own tests (`test_...`) do not count.

```
wbczoo plugin check --family timm --family torchvision --smallest-of-each \\
    --out docs/compatibility.jsonl
python tools/make_compatibility.py
```

The first line takes hours on two cores, keeps each row as it is done, and goes on where it was
stopped; rows that the file holds are not done again. The second one makes this page from the rows.
"""


def make_page() -> str:
    """The whole page as Markdown."""
    rows = read_rows(ROWS)
    lines = [OPENING, *_count(rows)]
    for family in dict.fromkeys(row["family"] for row in rows):
        lines += [f"## {family}", "", *_table([row for row in rows if row["family"] == family])]
    lines += ["## What did not pass", "", *_failures(rows)]
    return "\n".join(lines)


def _count(rows: Sequence[Row]) -> Iterator[str]:
    yield "| family | architectures | compositions tried | passed | |"
    yield "|---|---|---|---|---|"
    families = {family: [r for r in rows if r["family"] == family] for family in _families(rows)}
    for name, found in {**families, "all": list(rows)}.items():
        known = summarise(found)
        tried = {(r["family"], r["architecture"]) for r in found if r["status"] != "left out"}
        share = f"{100 * known['passed'] / known['tried']:.1f} %"
        yield f"| {name} | {len(tried)} | {known['tried']} | {known['passed']} | {share} |"
    yield ""
    versions = sorted(
        {
            ", ".join(f"{name} {found}" for name, found in row["versions"].items() if found)
            for row in rows
            if row.get("versions")
        }
    )
    yield f"Made with {'; or with '.join(versions)}."
    yield ""


def _families(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["family"] for row in rows))


def _table(rows: Sequence[Row]) -> Iterator[str]:
    yield f"| architecture | smallest member | parameters | {' | '.join(BRANCHES)} |"
    yield "|---|---|---|" + "---|" * len(BRANCHES)
    for architecture in sorted({row["architecture"] for row in rows}):
        found = [row for row in rows if row["architecture"] == architecture]
        if found[0]["status"] == "left out":
            empty = " |" * (len(BRANCHES) + 1)
            yield f"| {architecture} | left out: {found[0]['reason']} |{empty}"
            continue
        by_branch = {row["sequence"]: row for row in found}
        told = [by_branch[b]["status"] if b in by_branch else "not run" for b in BRANCHES]
        name = found[0]["backbone"].partition("/")[2]
        parameters = by_branch.get("none", {}).get("parameters")
        count = f"{parameters:,}" if parameters else ""
        yield f"| {architecture} | `{name}` | {count} | {' | '.join(told)} |"
    yield ""


def _failures(rows: Sequence[Row]) -> Iterator[str]:
    failed = [row for row in rows if row["status"] == "failed"]
    if not failed:
        yield "Nothing: every composition that was tried passed."
    for row in failed:
        step = f" at {row['step']}" if row["step"] else ""
        yield f"- `{row['backbone']}` with `{row['sequence']}`{step}: {row['reason']}"
    yield ""


if __name__ == "__main__":
    PAGE.write_text(make_page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
