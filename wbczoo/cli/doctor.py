"""`wbczoo doctor`: what support would ask first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from wbczoo.cli.options import json_option, print_facts
from wbczoo.text import format_size

_SIZES = ("size", "free", "total", "available")  # which may be unknown, and are never none


@click.command("doctor")
@click.option("--no-torch", is_flag=True, help="Leave PyTorch alone; loading it takes seconds.")
@json_option
@click.pass_context
def command(ctx: click.Context, no_torch: bool, as_json: bool) -> None:
    """Say what this installation and machine can do, and what is wrong with them.

    Exits 3 if something must be mended. Needs no torch, and shows no secret.

    Example: wbczoo doctor --json
    """
    from wbczoo.runtime.diagnosis import diagnose

    document = diagnose(ask_torch=not no_torch)
    print_facts(document, as_json, _rows(document))
    if document["problems"]:
        ctx.exit(3)


def _rows(document: dict[str, Any]) -> Iterator[tuple[str, object]]:
    """The document as lines for a reader: sizes in GB, each list in one line."""
    for key, value in document.items():
        if key == "devices":
            for name, why_not in value.items():
                yield f"--device {name}", why_not or "can be used"
        elif key == "nvidia":
            yield from _nvidia(value)
        elif key == "optional":
            for name, version in value.items():
                yield name, version or "not installed"
        elif isinstance(value, dict):
            for name, found in value.items():
                yield f"{key} {name}", _describe(name, found)
        else:
            yield key.replace("_", " "), _describe(key, value)


def _nvidia(found: dict[str, Any] | None) -> Iterator[tuple[str, object]]:
    if not found or not (found["gpus"] or found["driver"] or found["cuda"]):
        yield "nvidia driver", "none"
        return
    yield "nvidia driver", f"{found['driver'] or 'unknown'}, for CUDA {found['cuda'] or 'unknown'}"
    for place, gpu in enumerate(found["gpus"]):
        memory, free = (_describe("size", gpu[name]) for name in ("memory", "free"))
        capability = gpu["compute_capability"] or "unknown"
        yield (
            f"gpu {place}",
            f"{gpu['name'] or 'unnamed'}, {memory} ({free} free), compute capability {capability}",
        )


def _describe(name: str, value: object) -> object:
    if value is None:
        return "unknown" if name in _SIZES else "none"
    if name in (*_SIZES, "limit"):
        assert isinstance(value, int)
        return format_size(value)
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return value
