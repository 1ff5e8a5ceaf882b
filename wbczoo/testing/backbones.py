"""What a backbone alone must keep: its last block, its freezing, and what it declares of images."""

from __future__ import annotations

import math
from typing import Any

from wbczoo.errors import UsageError
from wbczoo.images import CROPS
from wbczoo.specs import BackboneSpec, Size
from wbczoo.testing.subject import (
    CheckFailed,
    answer,
    build_bare,
    build_module,
    compose_alone,
    noise,
)
from wbczoo.text import describe_error

_OTHER = 32  # pixels more each way: what most networks halve to one position


def check_last_block(spec: BackboneSpec) -> None:
    """`last_block` names parameters that exist, by prefixes, and fewer than all."""
    module = build_module(spec)
    block: Any = getattr(module, "last_block", None)
    if not isinstance(block, tuple) or not block or not all(isinstance(p, str) for p in block):
        raise CheckFailed(f"`last_block` is {block!r}; it is a tuple of prefixes of names.")
    names = [name for name, _ in module.named_parameters()]
    for prefix in block:
        if not any(name.startswith(prefix) for name in names):
            raise CheckFailed(f"No parameter's name begins with {prefix!r} of `last_block`.")
    if all(name.startswith(block) for name in names):
        raise CheckFailed("`last_block` opens every parameter; it must be fewer than all.")


def check_frozen(spec: BackboneSpec) -> None:
    """With `--trainable head`, training changes nothing in the backbone, batch-norm statistics
    and other buffers included.
    """
    import torch

    from wbczoo.testing.composition import make_step, noise_images

    model = compose_alone(spec)
    backbone = model.backbone
    assert backbone is not None
    model.open_for_training("head")
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    images = torch.from_numpy(noise_images(4, model.config.preprocessing.size))
    for _ in range(2):
        make_step(model, images)
    after = backbone.state_dict()
    moved = [key for key, value in before.items() if not torch.equal(value, after[key])]
    if moved:
        raise CheckFailed(
            f"A frozen backbone's {moved[0]} changed while the head was trained. Let "
            "`train(False)` keep every statistic, and change no state in forward."
        )


def check_preprocessing(spec: BackboneSpec) -> None:
    """Mean and std stand on the scale where white is 1 and reach the backbone as declared, and
    it reads images of the size that it is built for, the declared one and another.
    """
    import torch

    from wbczoo.testing.composition import noise_images

    declared = spec.preprocessing
    module = build_module(spec)
    for name, what in (("mean", declared.mean), ("std", declared.std)):
        _check_three(f"preprocessing.{name}", what, positive=name == "std")
    for name in ("input_mean", "input_std"):
        own: Any = getattr(module, name, None)
        if own is not None:
            _check_three(name, own, positive=name == "input_std")
    if declared.crop not in CROPS:
        raise CheckFailed(f"There is no crop {declared.crop!r}; there are {', '.join(CROPS)}.")

    model = compose_alone(spec)
    assert model.backbone is not None
    read: list[torch.Tensor] = []
    handle = model.backbone.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    images = torch.from_numpy(noise_images(2, declared.size))
    with torch.no_grad():
        model(images)
    handle.remove()
    mean = torch.tensor(declared.mean).view(3, 1, 1)
    std = torch.tensor(declared.std).view(3, 1, 1)
    if not torch.allclose(read[0], (images / 255 - mean) / std, atol=1e-5):
        raise CheckFailed("What reaches the backbone is not the image less its declared mean.")
    _check_other_size(spec)


def _check_other_size(spec: BackboneSpec) -> None:
    height, width = spec.preprocessing.size
    size: Size = (height + _OTHER, width + 2 * _OTHER)
    try:
        module = build_bare(spec, 0, size).eval()
    except (UsageError, ValueError, AssertionError):
        return  # it says itself that it cannot
    except Exception as error:
        raise CheckFailed(
            f"`build` fails for {size[0]} x {size[1]} pixels: {describe_error(error)}"
        ) from error
    try:
        answer(module, noise(spec, 2, size=size))
    except Exception as error:
        raise CheckFailed(
            f"Built for {size[0]} x {size[1]} pixels, it does not read them. Use `image_size`, "
            f"or raise a UsageError in build. {error}"
        ) from error


def _check_three(name: str, values: Any, *, positive: bool) -> None:
    """Three numbers between 0 and 1."""
    try:
        three = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        three = ()
    least = 1e-6 if positive else 0.0
    if len(three) != 3 or not all(math.isfinite(v) and least <= v <= 1 for v in three):
        raise CheckFailed(
            f"{name} is {values!r}; it is one number for each of R, G and B on the scale where "
            f"white is 1{', above 0' if positive else ''}. Divide by 255 what counts to 255."
        )
