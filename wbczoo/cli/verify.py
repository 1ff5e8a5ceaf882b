"""`wbczoo verify`: an export's frozen example, replayed on this machine without torch."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import click

from wbczoo.cli.options import json_option, print_facts
from wbczoo.cli.runtime_options import runtime_device_option, time_limit_option


@click.command("verify")
@click.argument("export")
@runtime_device_option
@time_limit_option
@json_option
@click.pass_context
def command(ctx: click.Context, export: str, device: Any, time_limit: float, as_json: bool) -> None:
    """Replay the frozen example of an export, or of a published model; check its files' hashes.

    Exits 3 if this machine answers differently.

    Example: wbczoo verify exports/a
    """
    from wbczoo.runtime import verify
    from wbczoo.runtime.stopping import ended_by_signals

    ctx.with_resource(ended_by_signals())
    found = verify(export, device=device, time_limit=time_limit)
    # A difference may be NaN, which JSON does not know; the problems say it in words.
    plain = {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in asdict(found).items()
    }
    document = {"ok": found.ok, **plain}
    rows = (
        (name, ", ".join(map(str, value)) if isinstance(value, list | tuple) else value)
        for name, value in document.items()
    )
    print_facts(document, as_json, rows)
    if not found.ok:
        ctx.exit(3)
