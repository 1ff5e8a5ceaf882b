"""`wbczoo serve`: models that answer callers over HTTP, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wbczoo.cli.options import Real
from wbczoo.cli.runtime_options import engine_option, runtime_device_option


@click.command("serve")
@click.argument("models", metavar="[MODEL]...", nargs=-1)
@click.option("--host", default="127.0.0.1", show_default=True, help="Whom it listens to.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: a free one."
)
@click.option(
    "--max-batch", type=click.IntRange(min=1), default=8, show_default=True,
    help="Images, or cells, that a network is asked about at once.",
)  # fmt: skip
@click.option(
    "--max-wait-ms", type=Real(min=0), default=5.0, show_default=True,
    help="How long an image waits for others to fill its batch, while such are being read.",
)  # fmt: skip
@click.option(
    "--queue", type=click.IntRange(min=1), default=128, show_default=True,
    help="Images in hand at once; whoever brings more is answered 503.",
)  # fmt: skip
@click.option(
    "--token-file", type=click.Path(path_type=Path),
    help="Tokens, one to a line; every request must then have one.",
)  # fmt: skip
@click.option(
    "--max-images", type=click.IntRange(min=1), default=64, show_default=True,
    help="Images of one request.",
)  # fmt: skip
@click.option(
    "--max-body", type=Real(min=0, min_open=True), default=32.0, show_default=True,
    metavar="MB", help="Size of one request.",
)  # fmt: skip
@click.option(
    "--timeout", type=Real(min=0, min_open=True), default=30.0, show_default=True,
    metavar="SECONDS", help="Until a request has arrived; slower callers are cut.",
)  # fmt: skip
@click.option(
    "--time-limit", type=Real(min=0, min_open=True), default=60.0, show_default=True,
    metavar="SECONDS", help="The longest that a model may take for a batch.",
)  # fmt: skip
@runtime_device_option
@engine_option
def command(
    models: tuple[str, ...],
    host: str,
    port: int,
    max_batch: int,
    max_wait_ms: float,
    queue: int,
    token_file: Path | None,
    max_images: int,
    max_body: float,
    timeout: float,
    time_limit: float,
    device: Any,
    engine: Any,
) -> None:
    """Answer callers over HTTP with exports or published models, until Ctrl-C or SIGTERM.

    Speaks the Open Inference Protocol, version 2, and takes image files at /v1/predict.

    Example: wbczoo serve exports/a --port 8000
    """
    from wbczoo.progress import tell
    from wbczoo.serving.serve import Options, serve

    if token_file is None and host not in ("127.0.0.1", "::1", "localhost"):
        tell(f"whoever reaches {host} is answered; --token-file asks for a token")
    options = Options(
        host=host, port=port, places=queue, most=max_batch, wait=max_wait_ms / 1000,
        body=int(max_body * 1e6), images=max_images, seconds=timeout, time_limit=time_limit,
        token_file=token_file, device=device, engine=engine,
    )  # fmt: skip
    serve(models, options, said=lambda where: tell(f"listening at {where}; Ctrl-C stops"))
