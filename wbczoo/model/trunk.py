"""A backbone whose last block is open is cut here: what stays constant, and what trains."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn

from wbczoo.model.fused import FusedClassifier


def cut_trunk(model: FusedClassifier) -> tuple[nn.Module, nn.Module] | None:
    """The backbone up to its last block, and the last block with all that follows it.

    Both are copies of the backbone in which the modules of the other side hand on what they are
    given, so that each parameter keeps its name. That the one after the other gives what the whole
    gives is tried, bit for bit: a backbone that looks back from its last block over the cut, or
    computes outside of its modules, has none.

    Args:
        model: with a backbone, whose `last_block` names what trains.

    Returns:
        the trunk: normalised images (N, 3, H, W) -> (N, C, h, w); and the rest: (N, C, h, w) ->
        the backbone's feature map; on the CPU, in evaluation mode. None where it cannot be cut.
    """
    assert model.backbone is not None
    whole = copy.deepcopy(model.backbone).cpu().eval()
    height, width = model.config.preprocessing.size
    drawn = torch.Generator().manual_seed(0)
    images = torch.randn((2, 3, height, width), generator=drawn)
    before, after = _sides(whole, images)
    trunk, rest = _without(whole, after), _without(whole, before)
    try:
        with torch.no_grad():
            features = trunk(images)
            same = features.ndim == 4 and torch.equal(rest(features), whole(images))
    except Exception:  # whatever a plugin's backbone makes of a module that only hands on
        return None
    return (trunk, rest) if same else None


def _sides(whole: nn.Module, images: Tensor) -> tuple[list[str], list[str]]:
    """The outermost modules that are done when the last block begins, and those that begin then."""
    names = {module: name for name, module in whole.named_modules() if name}
    opened = cast(tuple[str, ...], whole.last_block)
    running: list[str] = []
    sides: tuple[list[str], list[str]] = ([], [])
    begun = False

    def enter(module: nn.Module, _: Any) -> None:
        nonlocal begun
        name = names[module]
        # Of a block, what has a parameter begins it: an activation before it has no side's name.
        begun = begun or f"{name}.".startswith(opened)
        if begun and not any(_within(name, outer) for outer in sides[1]):
            sides[1].append(name)
        running.append(name)

    def leave(module: nn.Module, *_: Any) -> None:
        name = running.pop()
        if not begun:
            sides[0][:] = [done for done in sides[0] if not _within(done, name)]
            sides[0].append(name)

    hooks = [module.register_forward_pre_hook(enter) for module in names]
    hooks += [module.register_forward_hook(leave) for module in names]
    try:
        with torch.no_grad():
            whole(images)
    finally:
        for hook in hooks:
            hook.remove()
    return sides


def _within(name: str, outer: str) -> bool:
    return name == outer or name.startswith(f"{outer}.")


def _without(whole: nn.Module, names: list[str]) -> nn.Module:
    """A copy in which these modules give what they are given."""
    twin = copy.deepcopy(whole)
    for name in names:
        twin.set_submodule(name, nn.Identity())
    return twin
