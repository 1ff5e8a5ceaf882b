"""Weights come from the hub, or from what its client has cached, without a minute of retries."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from huggingface_hub import constants


@contextmanager
def cached_where_offline() -> Iterator[None]:
    """Tell the hub's client that it is offline where its host has no address.

    Left alone it asks five times, with pauses that grow, for each of two files. What it has
    cached before is found either way.
    """
    if constants.HF_HUB_OFFLINE or _reachable():
        yield
        return
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = False


def _reachable() -> bool:
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY")):
        return True  # the proxy looks names up, not this machine
    address = urlsplit(constants.ENDPOINT)
    try:
        socket.getaddrinfo(address.hostname, address.port or 443)
    except OSError:
        return False
    return True
