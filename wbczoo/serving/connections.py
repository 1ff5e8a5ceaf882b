"""Connections whose other end is slow, silent or too many are cut here."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)
_MOST_HEADERS = 65536  # bytes of a request's headers, and of whatever else is no body
_FRAME = 64  # bytes, at most, that a chunk's length and the ends of its lines take


class Connection(HttpToolsProtocol):
    """A connection that waits for its caller no longer than `patience`.

    uvicorn waits for as long as a caller takes to send a request's headers, or to read an answer,
    and for headers of any length.

    Args:
        patience: seconds that the headers may take, and that nothing of an answer may be read.
        most: connections at once.
    """

    def __init__(self, *args: Any, patience: float, most: int, **options: Any) -> None:
        super().__init__(*args, **options)
        self._patience, self._most = patience, most
        self._in_headers = False
        self._unparsed = 0  # bytes that were neither headers nor body, as trailers are
        self._unasked: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # An answer's headers and its body are two writes, of which the second would wait 40 ms for
        # the caller's system to say that it has the first.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self.connections) > self._most:
            transport.write(_FULL)
            transport.close()
        else:
            self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for timer in (self._unasked, self._unread):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._unparsed += len(data)
        super().data_received(data)
        self._unparsed = max(self._unparsed, 0)
        if self._unparsed > _MOST_HEADERS and not self.transport.is_closing():
            self.send_400_response("The headers are too long.")
        self._await_request()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers = True

    def on_headers_complete(self) -> None:
        self._in_headers = False
        size = sum(len(name) + len(value) for name, value in self.headers)
        self._unparsed -= size + 4 * len(self.headers)
        if size > _MOST_HEADERS:
            raise ValueError  # which the parser makes an error of, to be answered 400
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unparsed -= len(body)
        super().on_body(body)

    def on_chunk_header(self) -> None:
        self._unparsed -= _FRAME

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._unparsed = 0

    def eof_received(self) -> bool:  # type: ignore[override]
        """A request that ends half-way is answered as such; whoever sent all of it is answered."""
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering and not self.cycle.more_body:
            self.cycle.keep_alive = False
            return True
        if answering:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self._in_headers or (answering and not self.cycle.response_started):
            self.send_400_response("The request was cut off.")
        return False  # what is written is still sent

    def send_400_response(self, msg: str) -> None:
        super().send_400_response(msg)
        self._abort_later()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._abort_later()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._abort_later()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self._abort_later()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()

    def _await_request(self) -> None:
        """Wait a while for a request's headers, and for what is left of one that was answered."""
        asked = self.cycle is not None and not self.cycle.response_complete
        if asked and self._unasked is not None:
            self._unasked.cancel()
            self._unasked = None
        elif not asked and self._unasked is None:
            self._unasked = self._abort_later()

    def _abort_later(self) -> asyncio.TimerHandle:
        return self.loop.call_later(self._patience, self.transport.abort)
