"""`wbczoo doctor`: what support would ask first."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

import click

from wbczoo.cli.options import json_option, print_json, print_table


@click.command("doctor")
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Say what this installation and machine can do, and what is wrong with them.

    Example: wbczoo doctor --json
    """
    from wbczoo import environment, registry
    from wbczoo.data.cache import cache_folder
    from wbczoo.runtime import devices

    problems = []
    runtimes = devices.installed_runtimes()
    if len(runtimes) != 1:
        problems.append(
            "Both onnxruntime and onnxruntime-gpu are installed and overwrite each other: "
            "uninstall both, then install one."
            if runtimes
            else "onnxruntime is not installed."
        )
    parts = {
        f"{kind}/{entry.name}": f"{entry.status}: {entry.reason}"
        for kind, entries in registry.ALL.items()
        for entry in entries.entries()
        if entry.status in ("broken", "duplicate")
    }
    problems += [f"{name} is {reason}" for name, reason in parts.items()]
    document: dict[str, Any] = {
        **environment.describe(),
        "onnxruntime": runtimes,
        "providers": devices.import_onnxruntime().get_available_providers(),
        "cuda_for_onnxruntime": devices.explain_cuda() or "available",
        "torch": _torch(),
        "weights_folder": os.environ.get("WBCZOO_WEIGHTS"),
        "cache": str(cache_folder()),
        "problems": problems,
    }
    if as_json:
        print_json(document)
    else:
        rows = []
        for key, value in document.items():
            if isinstance(value, dict):
                rows += [(f"{key} {name}", found) for name, found in value.items()]
            elif isinstance(value, list):
                rows += [(key, ", ".join(map(str, value)) or "none")]
            else:
                rows.append((key, value))
        print_table(rows, ("what", "value"))
    if problems:
        ctx.exit(3)


def _torch() -> dict[str, Any] | None:
    if find_spec("torch") is None:
        return None
    try:
        import torch
    except Exception as error:  # a broken pair of torch and torchvision fails in many ways
        return {"error": f"{type(error).__name__}: {error}"}
    return {
        "version": torch.__version__,
        "built_for_cuda": torch.version.cuda,
        "cuda": torch.cuda.is_available(),
        "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "mps": torch.backends.mps.is_available(),
        "threads": torch.get_num_threads(),
    }
