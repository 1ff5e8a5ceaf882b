"""Connections whose other end is slow, silent or too many are cut here."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)


class Connection(H11Protocol):
    """A connection that waits for its caller no longer than `patience`.

    uvicorn waits for as long as a caller takes to send a request's headers, or to read an answer.

    Args:
        patience: seconds that the headers may take, and that nothing of an answer may be read.
        most: connections at once.
    """

    def __init__(self, *args: Any, patience: float, most: int, **options: Any) -> None:
        super().__init__(*args, **options)
        self._patience, self._most = patience, most
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
        super().data_received(data)
        self._await_request()

    def eof_received(self) -> bool:  # type: ignore[override]
        """A request that ends half-way is answered as such; whoever sent all of it is answered."""
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering and self.conn.their_state is not h11.SEND_BODY:
            self.cycle.keep_alive = False
            return True
        if answering:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        begun = answering or bool(self.conn.trailing_data[0])
        if begun and self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
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
