"""What a backbone's `pretrained=True` brings must be weights, and fit the module without them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from wbczoo.errors import UsageError
from wbczoo.specs import BackboneSpec
from wbczoo.testing.declarations import SOCKET_EVENTS
from wbczoo.testing.subject import CheckFailed, NotApplicable, build_bare, build_module
from wbczoo.text import describe_error

_closed: list[str] = []  # an entry for each who wants no socket opened
_hooked: list[bool] = []


def check_pretrained(spec: BackboneSpec) -> None:
    """`pretrained=True` brings the same weights under any seed, in the names and shapes that the
    module has without; or a UsageError says that there are none. What needs a network is not run.
    """
    import torch

    own = {name: tuple(each.shape) for name, each in build_module(spec).state_dict().items()}
    found: list[dict[str, torch.Tensor]] = []
    for seed in (3, 4):
        try:
            with _without_network():
                module = build_bare(spec, seed, pretrained=True)
        except UsageError:
            return
        except Exception as error:
            raise NotApplicable(
                f"Its weights cannot be had without a network: {describe_error(error)}"
            ) from error
        found.append(dict(module.state_dict()))
    brought = {name: tuple(each.shape) for name, each in found[0].items()}
    if differing := sorted(own.items() ^ brought.items()):
        raise CheckFailed(
            f"With `pretrained=True` {differing[0][0]} is not what it is without: its names and "
            "shapes must be equal, for a run is rebuilt without them."
        )
    moved = [name for name, each in found[0].items() if not torch.equal(each, found[1][name])]
    if moved:
        raise CheckFailed(
            f"With `pretrained=True` {moved[0]} is drawn at random: it differs under another "
            "seed. Load weights, or raise a UsageError that says that there are none."
        )


@contextlib.contextmanager
def _without_network() -> Iterator[None]:
    """Let no socket be opened, so that a check never fetches what may be large."""
    if not _hooked:  # a hook stays for the life of the process
        _hooked.append(True)
        sys.addaudithook(_refuse)
    _closed.append("")
    try:
        yield
    finally:
        _closed.pop()


def _refuse(event: str, _: tuple[Any, ...]) -> None:
    if _closed and event in SOCKET_EVENTS:
        raise OSError("a check opens no socket")
