"""Hostile requests to `wbczoo serve`: whatever is sent, an answer comes, and none of it is 5xx.

    python tools/serve_fuzz.py 127.0.0.1:8000 smears/test --requests 10000

Each request has a seed and a connection of its own. What can only be wrong has to be answered 4xx;
what a change may have left right, 2xx or 4xx.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import struct
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

Chance = random.Random


def post(path: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """A request with a body."""
    size = len(body) if length is None else length
    told = [f"POST {path} HTTP/1.1", "Host: a", f"Content-Length: {size}"]
    return "\r\n".join([*told, *headers, "", ""]).encode() + body


def tensor(chance: Chance) -> dict[str, object]:
    """A JSON request that is wrong in one way."""
    shape, data = [1, 3, 224, 224], [0] * 9
    wrong: object = chance.choice(
        [None, -1, 1 << 70, "x", [], {}, [[1], [2, 3]], [1.5], [True], 1e400, "9" * 5000]
    )
    told = {"name": "images", "datatype": "UINT8", "shape": shape, "data": data}
    told[chance.choice([*told])] = wrong
    return {"inputs": [told], "id": chance.choice(["a", 3]), "parameters": chance.choice([{}, 3])}


def chunk(kind: bytes, content: bytes) -> bytes:
    """A part of a PNG."""
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def bomb(chance: Chance) -> bytes:
    """A small PNG that says, and has, very many pixels."""
    width, height = chance.choice([(100_000, 100_000), (1 << 31, 1), (12_000, 12_000)])
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1 << 22), 9) * chance.choice([1, 8])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def mutated(content: bytes, chance: Chance) -> bytes:
    """Some bytes changed, cut or doubled."""
    changed = bytearray(content)
    for _ in range(chance.choice((1, 2, 8))):
        at = chance.randrange(len(changed))
        kind = chance.randrange(3)
        if kind == 0:
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del changed[at : at + chance.randrange(1, 30)]
        else:
            changed[at:at] = changed[at : at + chance.randrange(1, 30)]
        if not changed:
            return b"x"
    return bytes(changed)


INFER = "/v2/models/{model}/infer"

# What is sent, made by chance and an image, and whether it can only be wrong.
KINDS: dict[str, tuple[Callable[[Chance, bytes], bytes], bool]] = {
    "no HTTP": (lambda c, i: c.randbytes(c.randrange(1, 3000)) + b"\r\n\r\n", True),
    "cut": (lambda c, i: post("/v1/predict", i)[: c.randrange(20, 70 + len(i) // 2)], True),
    "too long": (lambda c, i: post("/v1/predict", i, length=len(i) + c.randrange(1, 999)), True),
    "too short": (lambda c, i: post("/v1/predict", i, length=c.randrange(1, 99)), True),
    "length": (
        lambda c, i: post("/v1/predict", i[:9]).replace(
            b"Length: 9", b"Length: " + c.choice([b"-1", b"x", b"9" * 99, b"1, 2", b"0x9"])
        ),
        True,
    ),
    "headers": (lambda c, i: b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 20_000, True),
    "header": (lambda c, i: b"GET / HTTP/1.1\r\nA: " + b"x" * c.randrange(70_000, 200_000), True),
    "chunks": (
        lambda c, i: b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        + c.choice([b"zz\r\n", b"-1\r\n", b"f" * 40 + b"\r\n", b"5\r\nab"]),
        True,
    ),
    "tensors": (lambda c, i: post(INFER, json.dumps(tensor(c)).encode()), True),
    "JSON": (lambda c, i: post(INFER, c.choice([b"[" * 99_999, b"{", b"\xff", b"1" * 9999])), True),
    "binary": (
        lambda c, i: post(
            INFER,
            b'{"inputs":[{"name":"images","datatype":"UINT8","shape":[1,3,224,224],'
            b'"parameters":{"binary_data_size":%d}}]}' % c.choice([-1, 0, 150528, 1 << 62])
            + c.randbytes(c.randrange(999)),
            f"Inference-Header-Content-Length: {c.choice(['0', '-1', '99999', 'x', '90'])}",
        ),
        True,
    ),
    "bomb": (lambda c, i: post("/v1/predict", bomb(c)), True),
    "image": (lambda c, i: post("/v1/predict", mutated(i, c)), False),
    "form": (
        lambda c, i: post(
            "/v1/predict",
            mutated(b'--b\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
                    + i[:200] + b"\r\n--b--\r\n", c),
            "Content-Type: multipart/form-data; boundary=b",
        ),
        False,
    ),
    "request": (lambda c, i: mutated(post("/v1/predict", i[:300]), c), False),
}  # fmt: skip


def ask(address: tuple[str, int], sent: bytes) -> bytes:
    """What is answered, until the other end has no more to say."""
    heard = b""
    with socket.create_connection(address, timeout=60) as caller:
        try:
            caller.sendall(sent)
            caller.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it was answered, and closed, before all was sent
        try:
            while piece := caller.recv(1 << 16):
                heard += piece
        except ConnectionResetError:
            pass
    return heard


def main() -> int:
    """Print one line of JSON; 3 if an answer was missing or wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("server")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--model", default="mobilenetv2-white-cell")
    given = parser.parse_args()
    host, _, port = given.server.partition(":")
    images = [path.read_bytes() for path in sorted(given.folder.rglob("*.jpg"))[:50]]
    statuses: Counter[str] = Counter()
    wrong: list[str] = []

    def one(seed: int) -> None:
        chance = Chance(seed)
        kind = [*KINDS][seed % len(KINDS)]
        make, never = KINDS[kind]
        sent = make(chance, chance.choice(images)).replace(b"{model}", given.model.encode())
        heard = ask((host, int(port)), sent)
        status = heard[9:12].decode("latin-1") if heard.startswith(b"HTTP/1.1 ") else "none"
        statuses[f"{kind}: {status}"] += 1
        if not (status.startswith("4") or (not never and status.startswith("2"))):
            wrong.append(f"{kind}, seed {seed}: {status}")

    with ThreadPoolExecutor(4) as callers:
        list(callers.map(one, range(given.requests)))
    told = {"requests": given.requests, "statuses": dict(sorted(statuses.items()))}
    sys.stdout.write(json.dumps({**told, "wrong": wrong[:20], "wrong_count": len(wrong)}) + "\n")
    return 3 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
