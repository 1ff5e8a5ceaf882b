"""The routes of the server: each reads a request, asks a model and writes the answer."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from wbczoo.errors import UsageError, WbczooError
from wbczoo.runtime.cells import Shown, choose_cells, show
from wbczoo.runtime.rows import Row, write_jsonl
from wbczoo.runtime.session import Session
from wbczoo.serving import protocol
from wbczoo.serving.gate import Gate, Limits
from wbczoo.serving.metrics import CONTENT_TYPE, Metrics
from wbczoo.serving.openapi import describe, page
from wbczoo.serving.queue import Outputs, Queue
from wbczoo.serving.refused import Refused, of_form, of_place

LINES = "application/x-ndjson"
ALONE = "-"  # the path of an image that came without a name

_UNSPOOLED = 1 << 62  # bytes; images of patients are not left on a disk while they are read


class _Parser(MultiPartParser):
    spool_max_size = _UNSPOOLED


@dataclass(frozen=True)
class Answering:
    """What the routes share.

    Attributes:
        models: by the name that callers use, the default one first.
        queue: that asks them.
        readers: threads that decode.
    """

    models: Mapping[str, Session]
    queue: Queue
    metrics: Metrics
    limits: Limits
    readers: ThreadPoolExecutor

    def model(self, name: str | None) -> tuple[str, Session]:
        """A model by its name; the first where none is given."""
        chosen = next(iter(self.models)) if name is None else name
        if chosen not in self.models:
            had = ", ".join(self.models)
            raise Refused(404, "request", f"There is no such model here; there is {had}.")
        return chosen, self.models[chosen]

    async def live(self, request: Request) -> Response:
        """Whether the process answers."""
        return JSONResponse({"live": True})

    async def ready(self, request: Request) -> Response:
        """Whether models can be asked: they are open before the server listens."""
        return JSONResponse({"ready": True})

    async def server(self, request: Request) -> Response:
        """The server's metadata."""
        return JSONResponse(protocol.describe_server())

    async def metadata(self, request: Request) -> Response:
        """A model's metadata."""
        name, session = self._of_path(request)
        return JSONResponse(protocol.describe_model(name, session.file))

    async def model_ready(self, request: Request) -> Response:
        """Whether a model can be asked."""
        name, _ = self._of_path(request)
        return JSONResponse({"name": name, "ready": True})

    async def infer(self, request: Request) -> Response:
        """Tensors in, tensors out."""
        name, session = self._of_path(request)
        body = await request.body()
        length = request.headers.get(protocol.HEADER_LENGTH)
        asked = await asyncio.wrap_future(
            self.readers.submit(
                protocol.read_request, body, length, session.file, self.limits.images
            )
        )
        with self.queue.taken(len(asked.pixels)):
            rows = await _all(self.queue.ask(session, each) for each in asked.pixels)
        self.metrics.images.labels(name).inc(len(rows))
        found = {output: np.stack([row[output] for row in rows]) for output in asked.outputs}
        content, headers = protocol.write_response(name, asked, found)
        return Response(content, headers=headers)

    async def predict(self, request: Request) -> Response:
        """Image files in, the rows of `wbczoo predict` out."""
        name, session = self.model(request.query_params.get("model"))
        cells: Any = request.query_params.get("cells")
        if cells not in (None, "one", "all", "whole"):
            raise Refused(400, "request", "cells is one, all or whole.")
        try:
            cells = choose_cells(cells, session.file)
        except UsageError as error:
            raise Refused(400, "request", str(error)) from None
        files = await self._read_images(request)
        with self.queue.taken(len(files)):
            read = partial(self._rows_of, session=session, cells=cells)
            rows = [row for each in await asyncio.gather(*map(read, files)) for row in each]
        self._count(name, rows)
        text = io.StringIO()
        count = write_jsonl(rows, text)
        lines = text.getvalue().encode("utf-8", "backslashreplace")
        status = 422 if count.exit_code == 1 else 200
        if LINES in request.headers.get("accept", ""):
            return Response(lines, status, media_type=LINES)
        joined = b",".join(lines.splitlines())
        document = b'{"format": 1, "model": %s, "rows": [%s]}\n' % (
            json.dumps(name).encode(),
            joined,
        )
        return Response(document, status, media_type="application/json")

    async def told(self, request: Request) -> Response:
        """The metrics."""
        return Response(self.metrics.text(), media_type=CONTENT_TYPE)

    async def document(self, request: Request) -> Response:
        """The interface, in OpenAPI."""
        return JSONResponse(describe([*self.models]))

    async def docs(self, request: Request) -> Response:
        """The same as a page."""
        return HTMLResponse(page([*self.models]))

    def _of_path(self, request: Request) -> tuple[str, Session]:
        if request.path_params.get("version", protocol.VERSION) != protocol.VERSION:
            raise Refused(404, "request", f"Each model has one version, {protocol.VERSION}.")
        return self.model(request.path_params["model"])

    async def _read_images(self, request: Request) -> list[tuple[str, bytes]]:
        """Each image's name and its bytes."""
        kind = request.headers.get("content-type", "").lower()
        if not kind.startswith("multipart/form-data"):
            body = await request.body()
            if not body:
                raise Refused(400, "request", "There is no image; send files in the field images.")
            return [(ALONE, body)]
        most = self.limits.images
        parser = _Parser(request.headers, request.stream(), max_files=most, max_fields=0)
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise of_form(error.message, most) from None
        except (KeyError, UnicodeDecodeError, ValueError):
            raise Refused(400, "request", "The form cannot be read.") from None
        files: list[tuple[str, bytes]] = []
        try:
            for field, file in form.multi_items():
                if field != "images" or isinstance(file, str):
                    raise Refused(400, "request", "The form has one field, images, with files.")
                files.append((file.filename or ALONE, await file.read()))
        finally:
            await form.close()
        if not files:
            raise Refused(400, "request", "The form has no file in the field images.")
        return files

    async def _rows_of(
        self, named: tuple[str, bytes], *, session: Session, cells: Any
    ) -> list[Row]:
        path, content = named
        coming = ExitStack()
        coming.enter_context(self.queue.coming(session))
        try:
            shown, asked = await asyncio.wrap_future(
                self.readers.submit(self._read, content, session, cells, coming)
            )
        finally:
            coming.close()  # of one that is given up before a thread had time for it
        rows = []
        for each, outputs in zip(shown, await _all(asked), strict=True):
            known = {"path": path, **each.known}
            known.pop("image", None)
            rows.append(session.tell(known, outputs) if outputs else known)
        return rows

    def _read(
        self, content: bytes, session: Session, cells: Any, coming: ExitStack
    ) -> tuple[list[Shown], list[Future[Outputs]]]:
        """What an image shows, each asked about by the thread that read it, without a detour."""
        with coming:
            shown = show(0, content, session.file, cells)
        # Not sooner: an image that is asked about no longer comes, and alone it waits for nobody.
        return shown, [
            _nothing() if each.pixels is None else self.queue.ask(session, each.pixels)
            for each in shown
        ]

    def _count(self, name: str, rows: Iterable[Row]) -> None:
        for row in rows:
            if "error" in row:
                self.metrics.refusals.labels("image").inc()
            else:
                self.metrics.images.labels(name).inc()
            for flag in row.get("flags", ()):
                self.metrics.flags.labels(name, flag).inc()


def create_app(
    models: Mapping[str, Session], queue: Queue, metrics: Metrics, limits: Limits, readers: int
) -> Starlette:
    """The server's application.

    Args:
        models: by the names that callers use, the default one first.
        readers: threads that decode images.
    """
    pool = ThreadPoolExecutor(readers, thread_name_prefix="wbczoo-read")
    answering = Answering(models, queue, metrics, limits, pool)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        pool.shutdown()
        queue.close()

    def refuse(refused: Refused) -> Response:
        metrics.refusals.labels(refused.reason).inc()
        return JSONResponse({"error": str(refused)}, refused.status, refused.headers)

    def handle(refused: Callable[[Any], Refused]) -> Callable[[Request, Exception], Response]:
        return lambda request, error: refuse(refused(error))

    one = "/v2/models/{model}"
    places: list[tuple[str, str, Any]] = [
        ("GET", "/v2", answering.server),
        ("GET", "/v2/health/live", answering.live),
        ("GET", "/v2/health/ready", answering.ready),
        ("POST", "/v1/predict", answering.predict),
        ("GET", "/metrics", answering.told),
        ("GET", "/openapi.json", answering.document),
        ("GET", "/docs", answering.docs),
    ]
    for model in (one, f"{one}/versions/{{version}}"):
        places += [
            ("GET", model, answering.metadata),
            ("GET", f"{model}/ready", answering.model_ready),
            ("POST", f"{model}/infer", answering.infer),
        ]
    gate = Middleware(Gate, limits=limits, metrics=metrics, refuse=refuse, full=lambda: queue.full)
    return Starlette(
        routes=[Route(path, endpoint, methods=[method]) for method, path, endpoint in places],
        middleware=[gate],
        lifespan=lifespan,
        exception_handlers={
            Refused: handle(lambda error: error),
            HTTPException: handle(of_place),
            ClientDisconnect: handle(lambda error: Refused(400, "cut", "The request was cut off.")),
            WbczooError: handle(lambda error: Refused(500, "model", str(error))),
        },
    )


async def _all(futures: Iterable[Future[Outputs]]) -> list[Outputs]:
    return await asyncio.gather(*map(asyncio.wrap_future, futures))


def _nothing() -> Future[Outputs]:
    """What no network is asked about."""
    found: Future[Outputs] = Future()
    found.set_result({})
    return found
