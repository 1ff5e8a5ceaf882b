"""A bill of materials passes through here: each licence of what users get is an allowed one.

cyclonedx-py environment --pyproject pyproject.toml --output-file dist/sbom.json
python tools/licences.py dist/sbom.json
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import click
from license_expression import get_spdx_licensing
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
SPDX = get_spdx_licensing()
Requires = Callable[[str], "Iterable[str] | None"]


def find_shipped(asked: Iterable[str], requires: Requires) -> tuple[set[str], set[str]]:
    """What requirements bring on this machine, and which of it is not installed: names.

    Args:
        asked: requirements such as `kit[extra]>=2`.
        requires: a distribution's own requirements by its name; None if it is not installed.
    """
    waiting = [Requirement(each) for each in asked]
    seen: set[tuple[str, str]] = set()
    shipped, absent = set(), set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        needs = requires(name)
        (shipped if needs is not None else absent).add(name)
        for extra in {"", *requirement.extras}:
            if needs is None or (name, extra) in seen:
                continue
            seen.add((name, extra))
            for need in map(Requirement, needs):
                if need.marker is None or need.marker.evaluate({"extra": extra}):
                    waiting.append(need)
    return shipped, absent


def find_licence(component: dict[str, Any], rules: dict[str, Any]) -> str:
    """A component's SPDX expression, or what stands in its place; empty where nothing does."""
    stated = rules["stated"].get(canonicalize_name(component["name"]))
    if stated:
        return str(stated)
    said = [
        each.get("expression") or each["license"].get("id") or each["license"].get("name", "")
        for each in component.get("licenses", [])
    ]
    known = sorted({rules["classifiers"].get(each, each) for each in said})
    return known[0] if len(known) == 1 else " AND ".join(f"({each})" for each in known)


def is_allowed(expression: str, allowed: Iterable[str]) -> bool:
    """Whether all that an SPDX expression demands, or one of its choices, is in the list."""
    if expression in allowed:  # also names that SPDX does not have
        return True
    try:
        parsed = SPDX.parse(expression, validate=True)
    except Exception:  # no expression: a free text, or a licence that SPDX does not know
        return False
    return parsed is not None and _holds(parsed, set(allowed))


def _holds(parsed: Any, allowed: set[str]) -> bool:
    if isinstance(parsed, SPDX.OR):
        return any(_holds(each, allowed) for each in parsed.args)
    if isinstance(parsed, SPDX.AND):
        return all(_holds(each, allowed) for each in parsed.args)
    return str(parsed) in allowed


def _read_requires(name: str) -> list[str] | None:
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return None


@click.command(help=__doc__)
@click.argument("bill", type=click.Path(exists=True, path_type=Path))
def main(bill: Path) -> None:
    components = json.loads(bill.read_text(encoding="utf-8"))["components"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    rules = tomllib.loads((ROOT / "licences.toml").read_text(encoding="utf-8"))
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *(r for e in extras if e != "dev" for r in extras[e])]
    shipped, absent = find_shipped(asked, _read_requires)
    found = {canonicalize_name(each["name"]): each for each in components}
    if lost := sorted(shipped - found.keys()):
        raise click.ClickException(f"{bill} lacks {', '.join(lost)}. Make it again.")
    refused = []
    for name in sorted(shipped):
        licence = find_licence(found[name], rules)
        click.echo(f"{name:28} {found[name]['version']:20} {licence or '(none named)'}")
        if not is_allowed(licence, rules["allowed"]):
            refused.append(f"{name} ({licence or 'no licence named'})")
    if absent:
        click.echo(f"Not installed here, so not looked at: {', '.join(sorted(absent))}.", err=True)
    if refused:
        raise click.ClickException(
            f"{', '.join(refused)}: not allowed by licences.toml. Leave it out, or read its "
            "licence and add it there."
        )


if __name__ == "__main__":
    sys.exit(main())
