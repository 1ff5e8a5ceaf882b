"""What a backbone and a sequence branch alike must keep, as modules of torch."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wbczoo.errors import WbczooError
from wbczoo.specs import BackboneSpec
from wbczoo.testing.declarations import SOCKET_EVENTS, require_signature
from wbczoo.testing.subject import (
    CheckFailed,
    ModuleSpec,
    NotApplicable,
    answer,
    build_bare,
    build_module,
    compose_alone,
    disturb,
    noise,
    read_as,
    shape_of,
    size_of,
)
from wbczoo.text import describe_error

if TYPE_CHECKING:
    from torch import Tensor

_watching: list[list[str]] = []
_hooked: list[bool] = []


def check_builds(spec: ModuleSpec) -> None:
    """`build` returns a torch module without weights, and opens no socket for it."""
    from torch import nn

    try:
        require_signature(spec)
    except CheckFailed as error:
        raise NotApplicable(str(error)) from None
    events: list[str] = []
    if not _hooked:  # a hook stays for the life of the process
        _hooked.append(True)
        sys.addaudithook(_listen)
    _watching.append(events)
    try:
        module = build_bare(spec, seed=0)
    except Exception as error:
        raise CheckFailed(f"`build` fails: {describe_error(error)}") from error
    finally:
        _watching.remove(events)
    if not isinstance(module, nn.Module):
        raise CheckFailed(f"`build` returns a {type(module).__name__}, not a torch module.")
    if events:
        raise CheckFailed(
            f"`build` opens a socket ({events[0]}); only `pretrained=True` of a backbone may."
        )


def check_num_features(spec: ModuleSpec) -> None:
    """The declared `num_features` is the width of what the forward returns, which is a feature
    map (N, num_features, h, w) of a backbone and (N, num_features) of a branch.
    """
    import torch

    module = build_module(spec)
    declared = getattr(module, "num_features", None)
    if not isinstance(declared, int) or declared < 1:
        raise CheckFailed(f"`num_features` is {declared!r}; it is a whole number above 0.")
    try:
        with torch.no_grad():
            found = module(noise(spec, 2))
    except Exception as error:
        raise CheckFailed(f"Its forward fails on a batch of 2: {describe_error(error)}") from error
    dimensions = 4 if isinstance(spec, BackboneSpec) else 2
    form = "(N, num_features, h, w)" if dimensions == 4 else "(N, num_features)"
    if not isinstance(found, torch.Tensor) or found.ndim != dimensions or len(found) != 2:
        got = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        raise CheckFailed(f"Its forward gives {got} for a batch of 2, not {form}.")
    if not found.is_floating_point():
        raise CheckFailed(f"Its forward gives {found.dtype}, not floating-point numbers.")
    if found.shape[1] != declared:
        raise CheckFailed(
            f"`num_features` says {declared}, and its forward gives {found.shape[1]} features."
        )


def check_batches(spec: ModuleSpec) -> None:
    """Batches of 1, 2 and 5 are answered, each in its own size."""
    import torch

    module = build_module(spec)
    shapes = {}
    for size in (1, 2, 5):
        try:
            with torch.no_grad():
                shapes[size] = tuple(module(noise(spec, size)).shape)
        except Exception as error:
            raise CheckFailed(
                f"Its forward fails on a batch of {size}: {describe_error(error)}"
            ) from error
    for size, shape in shapes.items():
        if shape[:1] != (size,) or shape[1:] != shapes[2][1:]:
            raise CheckFailed(f"A batch of {size} gives {shape}, and one of 2 {shapes[2]}.")


def check_rows_alone(spec: ModuleSpec) -> None:
    """In evaluation mode an image's answer does not depend on what else is in its batch."""
    import torch

    module = build_module(spec)
    disturb(module)
    images = noise(spec, 3)
    first = answer(module, images[[0, 1]])[0]
    second = answer(module, torch.stack([images[0], 3 * images[2]]))[0]
    if not close(first, second):
        raise CheckFailed(
            f"An image's answer changes by {gap(first, second):.3g} when its neighbour in the "
            "batch changes. In evaluation mode no statistic may be taken over the batch."
        )


def check_finite(spec: ModuleSpec) -> None:
    """Answers and gradients are finite numbers for black, white and noise images."""
    import torch

    shape = (2, *shape_of(spec, size_of(spec)))
    pictures = {"black": torch.zeros(shape), "white": torch.ones(shape)}
    read = {name: read_as(spec, scaled) for name, scaled in pictures.items()}
    for name, images in {**read, "noise": noise(spec, 2)}.items():
        module = build_module(spec)
        if not bool(torch.isfinite(answer(module, images)).all()):
            raise CheckFailed(f"Its answer to {name} images holds NaN or infinity.")
        module.train()
        found = _propagate(module, images)
        for key, gradient in found.items():
            if gradient is not None and not bool(torch.isfinite(gradient).all()):
                raise CheckFailed(f"The gradient of {key} for {name} images is not finite.")


def check_parameters_used(spec: ModuleSpec) -> None:
    """Every parameter has an influence on the answer: each gets a gradient, none of zeros."""
    module = build_module(spec).requires_grad_(True)  # as `--trainable all` does
    disturb(module)
    answer(module, noise(spec, 2))
    found = _propagate(module, noise(spec, 2))
    idle = [key for key, gradient in found.items() if gradient is None or not gradient.any()]
    if idle:
        more = f" and {len(idle) - 3} more" if len(idle) > 3 else ""
        raise CheckFailed(
            f"No gradient reaches {', '.join(idle[:3])}{more}. Leave out what forward does not "
            "use; where forward uses it for something that is cut off later, too."
        )


def check_state_dict(spec: ModuleSpec) -> None:
    """A module that is given another's state, through a safetensors file, answers as it does."""
    from safetensors.torch import load, save

    giver, taker = build_module(spec, seed=0), build_module(spec, seed=1)
    disturb(giver)
    images = noise(spec, 2)
    expected = answer(giver, images)
    try:
        state = {key: value.contiguous() for key, value in giver.state_dict().items()}
        taker.load_state_dict(load(save(state)), strict=True)
    except Exception as error:
        raise CheckFailed(
            f"Its state does not survive safetensors: {describe_error(error)}"
        ) from error
    found = answer(taker, images)
    if not close(expected, found):
        raise CheckFailed(
            f"With the state of another, its answer differs by {gap(expected, found):.3g}. "
            "Something that decides the answer is neither a parameter nor a buffer."
        )


def check_seed(spec: ModuleSpec) -> None:
    """The same seed of torch builds the same state, and the same image gets the same answer."""
    first, second = build_module(spec, seed=3), build_module(spec, seed=3)
    own, other = first.state_dict(), second.state_dict()
    moved = [key for key in own if key not in other or not bool((own[key] == other[key]).all())]
    if moved:
        raise CheckFailed(
            f"Two builds under one seed differ in {moved[0]}. Draw from torch's own generator."
        )
    images = noise(spec, 2)
    once, twice = answer(first, images), answer(first, images)
    if not bool((once == twice).all()):
        raise CheckFailed("The same image gets two answers in evaluation mode.")


def check_onnx(spec: ModuleSpec) -> None:
    """Exported to ONNX, it answers as in PyTorch, in batches of 1, 3 and 17, with weights drawn
    large, for small ones hide a wrong gate.
    """
    from wbczoo.exporting.graph import DEFAULT_OPSET, write_graph
    from wbczoo.exporting.parity import BATCHES, compare
    from wbczoo.exporting.trained import bare
    from wbczoo.testing.composition import make_large, noise_images

    model = compose_alone(spec)
    if isinstance(spec, BackboneSpec):
        disturb(model)
    elif model.sequence is not None:
        make_large(model.sequence)
    for size in BATCHES:
        answer(build_module(spec), noise(spec, size))
    images = noise_images(max(BATCHES), model.config.preprocessing.size)
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "model.onnx"
        try:
            write_graph(bare(model), graph, DEFAULT_OPSET)
            parity = compare(model, graph, images, "noise images")
        except WbczooError as error:
            raise CheckFailed(str(error)) from error
    if not parity.holds:
        raise CheckFailed(
            f"The ONNX graph differs from PyTorch by {parity.difference:.3g} in a logit, and "
            f"{parity.bound:.3g} is allowed."
        )


def close(first: Tensor, second: Tensor) -> bool:
    """Whether two answers are equal but for rounding."""
    import torch

    scale = max(1.0, float(first.abs().max()))
    return torch.allclose(first, second, rtol=1e-4, atol=1e-5 * scale)


def gap(first: Tensor, second: Tensor) -> float:
    """The largest absolute difference of two answers."""
    return float((first - second).abs().max())


def _propagate(module: Any, images: Tensor) -> dict[str, Tensor | None]:
    """The gradients of all parameters for a random projection of the answer."""
    import torch

    try:
        found = module(images)
        generator = torch.Generator().manual_seed(1)
        torch.autograd.backward((found * torch.randn(found.shape, generator=generator)).sum())
    except Exception as error:
        raise NotApplicable(f"Its forward or backward fails: {describe_error(error)}") from error
    return {key: value.grad for key, value in module.named_parameters()}


def _listen(event: str, _: tuple[Any, ...]) -> None:
    if event in SOCKET_EVENTS:
        for events in _watching:
            events.append(event)
