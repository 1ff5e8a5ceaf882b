"""A server in a process of its own, as a hospital would start it."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """A response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Server:
    """A server that listens."""

    process: subprocess.Popen[str]
    port: int

    def ask(
        self, path: str, body: bytes | None = None, method: str | None = None, **headers: str
    ) -> Answer:
        """A request in a connection of its own; `_` in a header's name stands for `-`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method or ("GET" if body is None else "POST"), path, body, named)
        response = connection.getresponse()
        answer = Answer(response.status, dict(response.getheaders()), response.read())
        connection.close()
        return answer


@contextmanager
def serving(*arguments: object) -> Iterator[Server]:
    """`wbczoo serve` at a free port, killed at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "wbczoo", "serve", *map(str, arguments), "--port", "0",
         "--device", "cpu"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        assert line.startswith("listening at http://127.0.0.1:"), line + process.stderr.read()
        yield Server(process, int(line.split(":")[2].split(";")[0]))
    finally:
        process.kill()
        process.communicate()


def form(files: Mapping[str, bytes], field: str = "images") -> tuple[bytes, str]:
    """Files as a form's body, and its content type."""
    parts = b"".join(
        b'--cut\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n\r\n%s\r\n'
        % (field.encode(), name.encode(), content)
        for name, content in files.items()
    )
    return parts + b"--cut--\r\n", "multipart/form-data; boundary=cut"
