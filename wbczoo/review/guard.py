"""Who may ask the server of a review, and what its pages may do in a browser."""

from __future__ import annotations

import hmac
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wbczoo import files
from wbczoo.errors import WbczooError

# Nothing but the page's own files, and no frame, form, plugin, font or other host.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Of a signed differential, which is one file with its style inside.
PRINTED = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"

_LARGEST = 4 << 20  # bytes of a request

_ADDRESS = ".address.json"


class Guard:
    """Lets requests through that name this server, come from its pages, and know a secret.

    A page elsewhere may make a browser ask any address of this machine. Its request has another
    `Origin`, or after its name was pointed here (DNS rebinding) another `Host`, and it knows no
    secret. The secret is the first part of each address, so that nothing is kept in a cookie.

    Args:
        hosts: `NAME:PORT` that may be asked for.
        reviewers: secret -> the name of whom it lets in; "" where anybody may say who they are.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], reviewers: Mapping[str, str]) -> None:
        self._app, self._hosts, self._reviewers = app, frozenset(hosts), dict(reviewers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403 or 404, or let the application answer, whose path has no secret."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", POLICY)
                headers.setdefault("Cache-Control", "no-store")
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
                headers["Cross-Origin-Resource-Policy"] = "same-origin"
                headers["Cross-Origin-Opener-Policy"] = "same-origin"
            await send(message)

        refusal = self._refuse(scope)
        if refusal is not None:
            await refusal(scope, receive, guarded)
            return
        secret, _, rest = scope["path"].removeprefix("/").partition("/")
        inner = {
            **scope, "path": f"/{rest}", "raw_path": f"/{rest}".encode(),
            "reviewer": self._reviewers[self._known(secret)],
        }  # fmt: skip
        await self._app(inner, receive, guarded)

    def _refuse(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if host not in self._hosts:
            return PlainTextResponse("This server is not called so.\n", 403)
        writes = scope["method"] not in ("GET", "HEAD")
        if (origin is None and writes) or origin not in (None, f"http://{host}"):
            return PlainTextResponse("Asked from another place.\n", 403)
        if int(headers.get("content-length", "0") or 0) > _LARGEST:
            return PlainTextResponse("That is too much.\n", 413)
        secret, slash, _ = scope["path"].removeprefix("/").partition("/")
        if not slash or not self._known(secret):
            return PlainTextResponse("Not found. Use the whole address that was printed.\n", 404)
        return None

    def _known(self, secret: str) -> str:
        given = secret.encode("utf-8", "surrogateescape")
        matching = [s for s in self._reviewers if hmac.compare_digest(s.encode(), given)]
        return matching[0] if matching else ""


def keep_address(folder: Path, names: Iterable[str], port: int | None) -> dict[str, Any]:
    """The port and the secrets of a folder's review; a page that is open finds it again by them.

    Args:
        names: of the reviewers, each of whom has a secret.
        port: None for the one of before.

    Returns:
        `port`, None where there was none before, and `secrets`, by name.
    """
    try:
        before = files.read_json(folder / _ADDRESS)
        known = {str(name): str(secret) for name, secret in before["secrets"].items()}
        port = port if port is not None else int(before["port"])
    except (WbczooError, KeyError, TypeError, ValueError, AttributeError):
        known = {}
    return {
        "port": port,
        "secrets": {name: known.get(name) or secrets.token_urlsafe(24) for name in names},
    }


def write_address(folder: Path, address: Mapping[str, Any]) -> None:
    """Keep an address, for nobody but the user to read; half of one is read as none."""
    descriptor = os.open(folder / _ADDRESS, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump({"format": 1, **address}, stream)
