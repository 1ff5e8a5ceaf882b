"""The server of a review: it hands out the page and what it shows, and takes decisions."""

from __future__ import annotations

import asyncio
import json
import threading
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from wbczoo.errors import ImageRefused, UsageError, WbczooError
from wbczoo.review.crops import SIDE, Crops, as_jpeg, crop, usual_side
from wbczoo.review.dataset import read_photograph
from wbczoo.review.describe import describe, describe_cells
from wbczoo.review.guard import PRINTED
from wbczoo.review.session import Action, Review, check_name
from wbczoo.review.sign import Unseen, describe_agreement, folder_of, reopen, sign
from wbczoo.runtime.cells import FOUND
from wbczoo.runtime.overlay import overlay
from wbczoo.runtime.session import Session
from wbczoo.text import one_line

PAGE = Path(__file__).with_name("page")
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript",
          ".svg": "image/svg+xml"}  # fmt: skip

_EVERY = 0.1  # seconds after which somebody else's decisions are looked for
_BEAT = 20  # of these, after which a page hears that the server lives
_LARGEST = 4 << 20  # bytes of a request
_MOST_CROPS = 200  # in one request
_WIDEST = 3000  # pixels of a photograph as the page shows it
_ALWAYS = {"Cache-Control": "private, max-age=31536000, immutable"}


class Served:
    """What the server has to show: a review, or how far it is with what comes before.

    Attributes:
        progress: `stage`, `done` and `total` photographs.
        failed: the sentence with which it ended, if it did.
        micrometres: that a pixel of the photographs is wide, where it is known.
        reviewer: whom a page takes for its reviewer where nobody says otherwise.
        stopped: whether the server is to end, and with it what pages listen to.
        open_session: opens the model, for maps.
    """

    def __init__(self) -> None:
        self.review: Review | None = None
        self.crops: Crops | None = None
        self.progress: dict[str, Any] = {"stage": "Opening the model", "done": 0, "total": None}
        self.failed: str | None = None
        self.micrometres: float | None = None
        self.reviewer = ""
        self.stopped: Callable[[], bool] = lambda: False
        self.open_session: Callable[[], Session] | None = None
        self._session: Session | None = None
        self._opening = threading.Lock()

    def advance(self, stage: str, done: int, total: int | None) -> None:
        """How far it is."""
        self.progress = {"stage": stage, "done": done, "total": total}

    def map_of(self, place: int) -> bytes:
        """What speaks for the model's answer about a cell, as PNG; the model is opened once.

        Raises:
            ImageRefused, UsageError, WbczooError: as `overlay` does; where no model can be opened.
        """
        review = self.ready
        cell, begun = review.cells[place], review.prepared.begun
        if self.open_session is None or cell.proposed is None:
            raise UsageError("The model proposed nothing here.")
        with self._opening:
            self._session = self._session or self.open_session()
        box = cell.box if begun["cells"] in FOUND else None
        pixels = read_photograph(review, cell.photograph)
        return overlay(self._session, pixels, box, task=review.prepared.task.name)

    def picture_of(self, place: int) -> bytes:
        """What is in the box that somebody drew, as JPEG; nothing if the photograph is gone."""
        cell = self.ready.cells[place]
        try:
            pixels = read_photograph(self.ready, cell.photograph)
        except ImageRefused:
            return as_jpeg(Image.new("RGB", (SIDE, SIDE)))
        side = self.crops.side if self.crops else None
        return crop(pixels, cell.box, side or usual_side([cell.box]))

    @property
    def ready(self) -> Review:
        """The review; 503 before it is there."""
        if self.review is None:
            raise HTTPException(503, "The cells are not ready yet.")
        return self.review


T = TypeVar("T", bound=BaseModel)


class _Acts(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    by: str = ""
    actions: list[Action] = Field(max_length=1000)


class _Signs(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    by: str = ""
    why: str = Field(default="", max_length=10_000)


def make_app(served: Served) -> Starlette:
    """The application, which a `Guard` must stand before."""
    photograph = lru_cache(maxsize=12)(lambda place: _photograph(served.ready, place))
    evidence = lru_cache(maxsize=100)(served.map_of)
    drawn = lru_cache(maxsize=1000)(served.picture_of)
    described = lru_cache(maxsize=1)(lambda: describe_cells(served.ready.prepared))

    async def page(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        found = {path.name: path for path in PAGE.iterdir() if path.suffix in _TYPES}.get(name)
        if found is None:
            raise HTTPException(404)
        return Response(found.read_bytes(), media_type=_TYPES[found.suffix])

    def cells(_: Request) -> Response:
        if served.review is None:
            return JSONResponse({})
        return Response(described(), media_type="application/json")

    def review(request: Request) -> Response:
        if served.failed or served.review is None:
            return JSONResponse({"failed": served.failed, "preparing": served.progress})
        told = describe(served.review, _who(request, request.query_params.get("by", "")))
        crop = {"side": served.crops and served.crops.side, "micrometres": served.micrometres}
        return JSONResponse({**told, "reviewer": served.reviewer, "crop": crop})

    async def events(request: Request) -> Response:
        asked = request.query_params
        by, ready = _who(request, asked.get("by", "")), served.ready
        since = _number(asked.get("since", "0"))
        return StreamingResponse(
            _events(ready, by, since, served.stopped), media_type="text/event-stream"
        )

    async def act(request: Request) -> Response:
        asked = await _read(request, _Acts)
        return await _answer(lambda: served.ready.act(_who(request, asked.by), asked.actions))

    async def sign_it(request: Request) -> Response:
        asked = await _read(request, _Signs)
        return await _answer(lambda: sign(served.ready, _who(request, asked.by)))

    async def reopen_it(request: Request) -> Response:
        asked = await _read(request, _Signs)
        return await _answer(lambda: reopen(served.ready, _who(request, asked.by), asked.why))

    async def crops(request: Request) -> Response:
        asked = request.query_params.get("cells", "").split(",")
        by, ready = _who(request, request.query_params.get("by", "")), served.ready
        if served.crops is None or not 0 < len(asked) <= _MOST_CROPS:
            raise HTTPException(404)
        places = [_number(each) for each in asked]
        if not all(ready.has(by, n) for n in places):
            raise HTTPException(404, "There is no such cell.")
        found = [
            await run_in_threadpool(drawn, n) if ready.cells[n].added else served.crops.read(n)
            for n in places
        ]
        return JSONResponse([b64encode(each).decode() for each in found], headers=_ALWAYS)

    def field(request: Request) -> Response:
        place = _number(request.path_params["place"])
        if place >= len(served.ready.prepared.photographs):
            raise HTTPException(404)
        try:
            return Response(photograph(place), media_type="image/jpeg", headers=_ALWAYS)
        except ImageRefused as refusal:
            raise HTTPException(410, str(refusal)) from None

    def drawn_map(request: Request) -> Response:
        place = _number(request.path_params["place"])
        if not served.ready.has(_who(request, request.query_params.get("by", "")), place):
            raise HTTPException(404)
        try:
            return Response(evidence(place), media_type="image/png", headers=_ALWAYS)
        except (ImageRefused, WbczooError) as error:
            raise HTTPException(410, str(error)) from None

    def signed(request: Request) -> Response:
        who = _who(request, request.query_params.get("by", ""))
        path = folder_of(served.ready, who) / "differential.html"
        if served.ready.view(who)[0].signed is None or not path.exists():
            raise HTTPException(404, "Nothing is signed.")
        headers = {"Content-Security-Policy": PRINTED}
        return Response(path.read_bytes(), media_type="text/html", headers=headers)

    def agreement(request: Request) -> Response:
        if not served.ready.decisions.revealed:
            raise HTTPException(404, "Both reviewers sign first.")
        return JSONResponse(describe_agreement(served.ready))

    return Starlette(
        routes=[
            Route("/", page),
            Route("/page/{name}", page),
            Route("/api/cells", cells),
            Route("/api/review", review),
            Route("/api/events", events),
            Route("/api/act", act, methods=["POST"]),
            Route("/api/sign", sign_it, methods=["POST"]),
            Route("/api/reopen", reopen_it, methods=["POST"]),
            Route("/api/agreement", agreement),
            Route("/crops", crops),
            Route("/photographs/{place}.jpg", field),
            Route("/maps/{place}.png", drawn_map),
            Route("/signed", signed),
        ],
        exception_handlers={HTTPException: _explain, UsageError: _explain},
    )


def _who(request: Request, said: str) -> str:
    """Who asks: whom the secret lets in, else who they say they are; "" before they say it."""
    bound: str = request.scope["reviewer"]
    return bound or (check_name(said) if said else "")


def _number(text: str) -> int:
    """A number in an address; 404 where none could be so long."""
    if not (text.isdecimal() and len(text) < 9):
        raise HTTPException(404)
    return int(text)


async def _read(request: Request, kind: type[T]) -> T:
    content = b""
    async for piece in request.stream():
        content += piece
        if len(content) > _LARGEST:
            raise HTTPException(413, "That is too much at once.")
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise HTTPException(400, f"No such request: {where}: {first['msg']}.") from None


async def _answer(work: Callable[[], dict[str, Any]]) -> Response:
    try:
        return JSONResponse(await run_in_threadpool(work))
    except Unseen as unseen:
        return JSONResponse({"error": str(unseen), "unseen": unseen.cells}, 409)
    except UsageError as error:
        return JSONResponse({"error": str(error)}, 409)
    except (WbczooError, OSError) as error:
        return JSONResponse({"error": str(error)}, 500)


async def _events(
    review: Review, by: str, since: int, stopped: Callable[[], bool]
) -> AsyncIterator[str]:
    waited = 0
    while not stopped():
        if review.version != since:
            told = await run_in_threadpool(review.changes, by, min(since, review.version))
            since = told["version"]
            yield f"data: {json.dumps(told)}\n\n"
        elif waited % _BEAT == 0:
            yield ": here\n\n"
        waited += 1
        await asyncio.sleep(_EVERY)


def _photograph(review: Review, place: int) -> bytes:
    image = Image.fromarray(read_photograph(review, place))
    image.thumbnail((_WIDEST, _WIDEST))
    return as_jpeg(image, quality=92)


async def _explain(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return JSONResponse({"error": error.detail}, error.status_code)
    return JSONResponse({"error": one_line(error)}, 409)
