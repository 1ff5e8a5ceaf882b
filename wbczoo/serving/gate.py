"""Every request passes here first: who asks, how much, and how slowly; what is too much ends."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wbczoo.serving.metrics import Metrics
from wbczoo.serving.refused import Refused, overloaded

# Whoever keeps this process alive asks these, and has no token.
_OPEN = ("/v2/health/live", "/v2/health/ready")

_BODIES = 4  # of the largest bodies, as much as all bodies that are being read may have together


@dataclass(frozen=True)
class Limits:
    """What one request may be.

    Attributes:
        body: its bytes.
        images: that it brings.
        seconds: until all of it has arrived.
        tokens: one of which it must have, if there are any.
    """

    body: int
    images: int
    seconds: float
    tokens: Sequence[str] = ()


class Gate:
    """ASGI middleware that keeps `Limits`, and counts.

    Args:
        refuse: answers for a request that goes no further.
        full: whether no image can be taken, so that none need be read.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Limits,
        metrics: Metrics,
        refuse: Callable[[Refused], ASGIApp],
        full: Callable[[], bool],
    ) -> None:
        self._app, self._limits, self._metrics = app, limits, metrics
        self._refuse, self._full = refuse, full
        self._bytes = 0  # of the bodies that are being read

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = perf_counter()
        status = 0

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        size = 0
        try:
            size = self._admit(scope)
            self._bytes += size
            await self._app(scope, self._measured(receive), sent)
        except Refused as refused:
            await self._refuse(refused)(scope, receive, sent)
        finally:
            self._bytes -= size
            # The router leaves its template here; a path that nobody serves is no label.
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(perf_counter() - begun)

    def _admit(self, scope: Scope) -> int:
        """The bytes that a request may bring."""
        headers = Headers(scope=scope)
        tokens = self._limits.tokens
        if tokens and scope["path"] not in _OPEN:
            _check_token(headers.get("authorization", ""), tokens)
        if scope["method"] != "POST":
            return 0
        if "content-encoding" in headers:
            raise Refused(415, "request", "Bodies are read as they are, without an encoding.")
        told = headers.get("content-length", "")
        # A body of unknown length may come to be the largest.
        size = int(told) if told.isascii() and told.isdigit() else self._limits.body
        if size > self._limits.body:
            raise self._too_large()
        if self._full() or self._bytes + size > _BODIES * self._limits.body:
            raise overloaded()
        return size

    def _measured(self, receive: Receive) -> Receive:
        end = asyncio.get_running_loop().time() + self._limits.seconds
        had = 0
        arrived = False

        async def measured() -> Message:
            nonlocal had, arrived
            if arrived:  # what comes now is that the caller went away
                return await receive()
            try:
                async with asyncio.timeout_at(end):
                    message = await receive()
            except TimeoutError:
                raise Refused(
                    408, "slow", f"The request did not arrive within {self._limits.seconds:g} s."
                ) from None
            had += len(message.get("body", b""))
            arrived = not message.get("more_body", False)
            if had > self._limits.body:
                raise self._too_large()
            return message

        return measured

    def _too_large(self) -> Refused:
        most = self._limits.body / 1e6
        return Refused(413, "body", f"A request has at most {most:g} MB.")


def _check_token(given: str, tokens: Sequence[str]) -> None:
    scheme, _, token = given.partition(" ")
    # Each is compared, and each in the same time wherever the first difference is.
    same = [hmac.compare_digest(token.strip().encode(), each.encode()) for each in tokens]
    if scheme.lower() != "bearer" or not any(same):
        raise Refused(401, "token", "Give a token: Authorization: Bearer TOKEN.")
