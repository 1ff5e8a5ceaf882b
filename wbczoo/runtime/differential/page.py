"""A differential becomes one HTML page here, which needs nothing beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from wbczoo import __version__

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --bar: #5b7fb5; --reach: #5b7fb555; }
body { font: 16px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem;
       padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: left; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.bar { width: 35%; min-width: 8rem; }
svg { display: block; width: 100%; height: 1.1rem; }
.warning { border-left: 4px solid #c77700; padding: .3rem .8rem; margin: .6rem 0; }
.quiet { opacity: .75; font-size: .9rem; }
details ul { max-height: 16rem; overflow: auto; overflow-wrap: anywhere; }
"""


def to_html(document: Mapping[str, Any]) -> str:
    """The page of what `differential.describe` returns."""
    model = escape(str(document["model"]))
    lines = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Differential by {model}</title><style>{_STYLE}</style></head><body>",
        "<h1>White cell differential</h1>",
        f'<p class="quiet">Model {model}, weights {escape(document["weights_sha256"][:12])}, '
        f"task {escape(document['task'])}, least probability {document['least_probability']:g}, "
        f"wbczoo {escape(__version__)}.</p>",
        f'<p class="warning"><b>Research use.</b> {escape(document["intended_use"])} '
        f"Not for: {escape(document['not_for'])}</p>",
    ]
    for group in document["groups"]:
        lines += _group(group)
    correction = document["correction"] or document["why_no_correction"]
    lines += [
        "<h2>How to read it</h2>",
        f"<p>Interval: {escape(document['interval'])}.</p>",
        f"<p>Corrected: {escape(correction)}. Its intervals know how few photographs that is.</p>"
        if document["correction"]
        else f"<p>Not corrected: {escape(correction)}</p>",
        "</body></html>",
    ]
    return "\n".join(lines) + "\n"


def _group(group: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h2>{escape(group['name'])}</h2>"
    yield (
        f"<p>{group['counted']} of {group['images']} images counted; {group['refused']} refused, "
        f"{group['unsure']} below the least probability, {group['contradicted']} contradicted by "
        "the other task.</p>"
    )
    for warning in group["warnings"]:
        yield f'<p class="warning">{escape(warning)}</p>'
    yield (
        '<table><thead><tr><th>class</th><th class="number">cells</th><th class="number">%</th>'
        '<th class="number">95 % interval</th><th></th><th class="number">corrected %</th>'
        '<th class="number">95 % interval</th></tr></thead><tbody>'
    )
    for name, found in group["classes"].items():
        corrected = found["corrected"]
        yield (
            f'<tr><td>{escape(name)}</td><td class="number">{found["count"]}</td>'
            f'<td class="number">{_percent(found["percent"])}</td>'
            f'<td class="number">{found["low"]:.1f} to {found["high"]:.1f}</td>'
            f'<td class="bar">{_bar(found)}</td>'
            + (
                f'<td class="number">{corrected["percent"]:.1f}</td>'
                f'<td class="number">{corrected["low"]:.1f} to {corrected["high"]:.1f}</td></tr>'
                if corrected
                else '<td class="number">–</td><td class="number">–</td></tr>'
            )
        )
    yield "</tbody></table>"
    for kind, paths in group["put_aside"].items():
        if paths:
            items = "".join(f"<li>{escape(path)}</li>" for path in paths)
            yield f"<details><summary>{len(paths)} {kind}</summary><ul>{items}</ul></details>"


def _bar(found: Mapping[str, Any]) -> str:
    low, high = found["low"], found["high"]
    told = f"{_percent(found['percent'])} %, interval {low:.1f} to {high:.1f} %"
    return (
        f'<svg viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{told}">'
        f'<rect x="0" y="2" height="6" width="{found["percent"] or 0:.2f}" fill="var(--bar)"/>'
        f'<rect x="{low:.2f}" y="4" height="2" width="{high - low:.2f}" fill="var(--reach)"/></svg>'
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
