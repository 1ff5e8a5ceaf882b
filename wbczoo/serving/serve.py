"""Models are opened here and answer callers until somebody stops the process."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from wbczoo.errors import UsageError, WbczooError
from wbczoo.machine import how_to_install
from wbczoo.runtime import devices
from wbczoo.runtime.folder import find_model, folder_of
from wbczoo.runtime.named import resolve
from wbczoo.runtime.predict import load
from wbczoo.runtime.published import published
from wbczoo.runtime.session import Session

_DRAIN = 5.0  # seconds for answers to be read, beyond what computing them may take
_CONNECTIONS = 1000  # at once
_ON_GPU = 2  # batches at once: one is prepared while the other is computed


@dataclass(frozen=True)
class Options:
    """How a server answers.

    Attributes:
        host, port: where it listens; port 0 is any that is free.
        places: images in hand at once; whoever brings more is answered 503.
        most: images of a batch.
        wait: seconds that an image waits for others to fill its batch, while such are being read.
        body: the most bytes of a request.
        images: the most images of a request.
        seconds: until a request has arrived.
        time_limit: seconds that a batch may take.
        token_file: whose lines are tokens, one of which every request must have.
        device, engine: as of `wbczoo.runtime.Session`.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    places: int = 128
    most: int = 8
    wait: float = 0.005
    body: int = 32_000_000
    images: int = 64
    seconds: float = 30.0
    time_limit: float = 60.0
    token_file: Path | None = None
    device: Any = "auto"
    engine: Any = "onnxruntime"


def serve(
    models: Sequence[str | os.PathLike[str]], options: Options, said: Callable[[str], object] = int
) -> None:
    """Answer callers until SIGTERM or Ctrl-C, then whoever asked already, and return.

    Args:
        models: exports, or published models' names; callers name them by their folders' names.
            The first of the published ones if there are none.
        said: is told where the server listens, once it does.

    Raises:
        UsageError: if two models have one name, or an option cannot be.
        WbczooError: if a model cannot be opened, nothing can listen there, or what the extra
            `serve` brings is not installed.
    """
    try:
        import uvicorn

        from wbczoo.serving.app import create_app
        from wbczoo.serving.connections import Connection
        from wbczoo.serving.gate import Limits
        from wbczoo.serving.metrics import Metrics
        from wbczoo.serving.queue import Queue
    except ImportError as error:
        told = f"{error.name} is not installed: {how_to_install('serve')}."
        raise WbczooError(told) from None
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # callers hear of it
    limits = Limits(options.body, options.images, options.seconds, read_tokens(options.token_file))
    opened = open_models(models, options)
    on_gpu = any(s.provider in (devices.CUDA, devices.TENSORRT) for s in opened.values())
    metrics = Metrics(lambda: queue.in_hand)
    queue = Queue(
        options.places, most=options.most, wait=options.wait,
        threads=_ON_GPU if on_gpu else devices.cores(), seen=metrics.batches.observe,
    )  # fmt: skip
    app = create_app(opened, queue, metrics, limits, readers=devices.cores())
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=partial(Connection, patience=options.seconds, most=_CONNECTIONS),  # type: ignore[arg-type]
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,  # nobody asks who called
            server_header=False,
            timeout_graceful_shutdown=int(options.time_limit + options.seconds + _DRAIN),
        )
    )
    with listening(options.host, options.port) as listener:
        host, port = listener.getsockname()[:2]
        said(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn has drained when it raises this
            server.run([listener])


def open_models(models: Sequence[str | os.PathLike[str]], options: Options) -> dict[str, Session]:
    """Each model by the name that callers use, asked once: the first answer takes longer.

    Raises:
        UsageError, WbczooError: as `serve` does.
    """
    given = models or published().names[:1]
    opened: dict[str, Session] = {}
    for each in given:
        path = resolve(each)
        name = folder_of(find_model(path).absolute()).name
        if name in opened:
            raise UsageError(f"Two models are called {name}; rename one's folder.")
        session = load(
            path, device=options.device, engine=options.engine, parallel=devices.cores(),
            time_limit=options.time_limit,
        )  # fmt: skip
        height, width = session.file.size or session.preprocessing.size
        shape = (height, width, 3) if session.file.embedded else (3, height, width)
        session.run(np.zeros((1, *shape), np.uint8))
        opened[name] = session
    return opened


def read_tokens(path: Path | None) -> tuple[str, ...]:
    """The tokens of a file, one to a line.

    Raises:
        UsageError: if it cannot be read or has none.
    """
    if path is None:
        return ()
    try:
        lines = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The tokens in {path} cannot be read: {error}.") from None
    if not lines:
        raise UsageError(f"{path} holds no token; write one to a line.")
    return tuple(lines)


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        WbczooError: if it cannot.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise WbczooError(
            f"Nothing can listen at {host}, port {port}: {error.strerror or error}. Name another "
            "by --host and --port."
        ) from None
