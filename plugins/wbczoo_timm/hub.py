"""Weights come from the hub, or from what its client has cached, without a minute of retries."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import timm
from huggingface_hub import constants
from timm.models import load_model_config_from_hf

from wbczoo.errors import UsageError
from wbczoo.specs import Size

HUB = "hf-hub:"


def ask_hub(name: str, fetch: bool) -> dict[str, str]:
    """What the `config.json` of a model on the hub says of it, from the cache if it is there.

    Args:
        name: `hf-hub:OWNER/NAME`.
        fetch: whether the hub itself may be asked.

    Returns:
        the options by which it is built again: timm's name for its architecture, and JSON.

    Raises:
        UsageError: if nobody may ask, and it is not cached; or timm has no such architecture.
        Exception: of the hub's client, where it has no such model.
    """
    try:
        with cached_where_offline() if fetch else _cached_alone():
            _, architecture, arguments = load_model_config_from_hf(name.removeprefix(HUB))
    except OSError as error:
        if fetch:
            raise
        raise UsageError(
            f"What timm/{name} is stands on the hub, which is asked for its weights alone. Give "
            "--weights pretrained."
        ) from error
    if not timm.is_model(architecture):
        raise UsageError(
            f"{name} says that it is a {architecture}, and timm {timm.__version__} has no such "
            "model; a newer timm may have it."
        )
    told = json.dumps(arguments or {}, sort_keys=True)
    return {"hub_architecture": architecture, "hub_arguments": told}


def create_as_on_hub(name: str, told: Mapping[str, str], image_size: Size, pretrained: bool) -> Any:
    """timm's model for images of a size, as the hub's config says, with the hub's weights or none.

    Positions that were learned for another size are resampled as timm does it.

    Raises:
        UsageError: if the model's patches do not divide the size.
    """
    settings: dict[str, Any] = json.loads(told["hub_arguments"] or "{}")
    settings["img_size"] = image_size
    what = name if pretrained else told["hub_architecture"]
    try:
        model = timm.create_model(what, pretrained=pretrained, **settings)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        del settings["img_size"]  # its positions, if any, are of no size
        model = timm.create_model(what, pretrained=pretrained, **settings)
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", (1, 1))
    if any(side % of for side, of in zip(image_size, patch, strict=True)):
        near = sorted({side // of * of + more for side, of in zip(image_size, patch, strict=True)
                       for more in (0, of)} - {0})  # fmt: skip
        raise UsageError(
            f"{name} reads patches of {patch[0]} x {patch[1]} pixels, of which {image_size[0]} is "
            f"no multiple: give --image-size {' or '.join(map(str, near))}."
        )
    return model


@contextmanager
def cached_where_offline() -> Iterator[None]:
    """Tell the hub's client that it is offline where its host has no address.

    Left alone it asks five times, with pauses that grow, for each of two files. What it has
    cached before is found either way.
    """
    if constants.HF_HUB_OFFLINE or _reachable():
        yield
        return
    with _cached_alone():
        yield


@contextmanager
def _cached_alone() -> Iterator[None]:
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _reachable() -> bool:
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY")):
        return True  # the proxy looks names up, not this machine
    address = urlsplit(constants.ENDPOINT)
    try:
        socket.getaddrinfo(address.hostname, address.port or 443)
    except OSError:
        return False
    return True
