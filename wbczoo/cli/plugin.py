"""`wbczoo plugin`: write one, list what plugins bring, and check that a part keeps the contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wbczoo import registry
from wbczoo.cli.options import Real, json_option, print_json, print_table
from wbczoo.cli.plugin_new import new
from wbczoo.cli.results import echo

KINDS = {"backbone": "backbones", "sequence": "sequences", "dataset": "datasets",
         "baseline": "baselines"}  # fmt: skip


@click.group("plugin")
def command() -> None:
    """Write, check and list plugins.

    Example: wbczoo plugin new wbczoo-mynet --kind backbone
    """


command.add_command(new)


@command.command("list")
@json_option
def list_plugins(as_json: bool) -> None:
    """Show every part with the distribution that brings it, its licence, and its status.

    Parts that WBCZOO_PLUGINS keeps out are shown too, as `blocked`.

    Example: wbczoo plugin list --json
    """
    fields = ("name", "kind", "distribution", "version", "licence", "status", "reason")
    rows = [
        {
            **entry.row(),
            "kind": kind,
            "family": entry.kind == "family",
            "licence": entry.licence,
        }
        for kind, place in KINDS.items()
        for entry in registry.ALL[place].entries()
    ]
    if as_json:
        print_json({"plugins": rows})
    else:
        print_table([[row[field] for field in fields] for row in rows], fields)


@command.command("check")
@click.argument("name", required=False)
@click.option(
    "--kind", type=click.Choice([*KINDS]), help="Of the part, if its name leaves a doubt."
)
@click.option(
    "--data", type=click.Path(path_type=Path, exists=True), help="Of a data set: its folder or zip."
)
@click.option(
    "--time-limit",
    type=Real(1, 86_400),
    help="Seconds that one check may take.  [default: 300; with --family 900]",
)
@click.option(
    "--family", "families", multiple=True, help="Instead of a name: a family, such as timm. Repeat."
)
@click.option(
    "--smallest-of-each",
    is_flag=True,
    help="Of a family: the smallest member of each architecture, with each branch.",
)
@click.option(
    "--architecture", "architectures", multiple=True, help="Of a family: only these. Repeat."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Of a family: keep each row here as it is done; rows that it holds are not done again.",
)
@json_option
@click.pass_context
def check(
    ctx: click.Context,
    /,
    name: str | None,
    families: tuple[str, ...],
    smallest_of_each: bool,
    **options: Any,
) -> None:
    """Run the conformance kit on a part, or on a whole family.

    Exits 3 if a check fails.

    Example: wbczoo plugin check mobilenetv2
    """
    if (name is None) == (not families):
        raise click.UsageError("Give a part's name, or --family.")
    if families and not smallest_of_each:
        raise click.UsageError(
            "--family takes --smallest-of-each; a single member is checked by its name, such as "
            "timm/resnet50."
        )
    passed = _check_families(families, **options) if name is None else _check_part(name, **options)
    if not passed:
        ctx.exit(3)


def _check_part(
    name: str,
    *,
    kind: str | None,
    data: Path | None,
    time_limit: float | None,
    as_json: bool,
    architectures: tuple[str, ...],
    out: Path | None,
) -> bool:
    from wbczoo.testing import conformance

    if architectures or out:
        raise click.UsageError("--architecture and --out belong to --family.")
    group = conformance.find_kind(name, KINDS[kind] if kind else None)
    limit = time_limit or conformance.TIME_LIMIT
    results = []
    for result in conformance.run(group, name, data=data, limit=limit):
        click.echo(f"{result.check}: {result.result}", err=True)
        results.append(result)
    failed = [result for result in results if result.result == "failed"]
    if as_json:
        rows = [vars(result) for result in results]
        print_json({"name": name, "kind": group, "passed": not failed, "checks": rows})
    else:
        print_table(
            [(result.check, result.result, result.reason) for result in results],
            ("check", "result", "reason"),
        )
    return not failed


def _check_families(
    families: tuple[str, ...],
    *,
    kind: str | None,
    data: Path | None,
    time_limit: float | None,
    as_json: bool,
    architectures: tuple[str, ...],
    out: Path | None,
) -> bool:
    from wbczoo.progress import bar
    from wbczoo.testing import breadth

    if kind or data or out is None:
        raise click.UsageError("--family wants --out FILE, and neither --kind nor --data.")
    members = [r for family in dict.fromkeys(families) for r in breadth.smallest_of_each(family)]
    known = {row["architecture"] for row in members}
    if strange := sorted(set(architectures) - known):
        raise click.UsageError(
            f"{' and '.join(families)} has no architecture {strange[0]!r}; it has "
            f"{', '.join(sorted(known))}."
        )
    if architectures:
        members = [row for row in members if row["architecture"] in architectures]
    total = sum(len(breadth.BRANCHES) if row["member"] else 1 for row in members)
    rows = []
    with bar(total, "compositions", unit="composition") as advance:
        for row in breadth.run(members, out, limit=time_limit or breadth.TIME_LIMIT):
            rows.append(row)
            advance(1)
    document = breadth.summarise(rows)
    if as_json:
        print_json({**document, "rows": rows})
    else:
        print_table(
            [
                (
                    row["backbone"] or f"{row['family']}/{row['architecture']}",
                    row["sequence"],
                    row["status"],
                    row.get("step", ""),
                    row["reason"],
                )
                for row in rows
            ],
            ("backbone", "sequence", "result", "step", "reason"),
        )
        echo(f"\n{document['passed']} of {document['tried']} compositions passed")
    return bool(document["passed"] == document["tried"])
