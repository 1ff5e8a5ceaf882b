"""What a timm model computes from an image is read as a feature map here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from wbczoo.errors import WbczooError
from wbczoo.specs import Size

# Where CaiT, XCiT and VOLO keep blocks that read the patches into a class token.
_CLASS_ATTENTION = ("blocks_token_only", "cls_attn_blocks", "post_network")


@dataclass(frozen=True)
class Layout:
    """How an architecture lays out what its `forward_features` returns.

    Attributes:
        order: `channels_first` (N, C, h, w), `channels_last` (N, h, w, C),
            `tokens` (N, prefix + h * w, C), or `flat` (N, C, h * w).
        prefix: tokens before the image's own, such as a class token.
        grid: (h, w) of the image's tokens.
    """

    order: str = "channels_first"
    prefix: int = 0
    grid: Size = (0, 0)

    def as_map(self, features: Tensor | Sequence[Tensor]) -> Tensor:
        """The same features, or the last of several, as (N, C, h, w)."""
        last: Tensor = _last(features)
        if self.order == "channels_last":
            return last.permute(0, 3, 1, 2)
        if self.order == "channels_first":
            return last
        if self.order == "tokens":
            last = last[:, self.prefix :].transpose(1, 2)  # (N, C, h * w)
        return last.reshape(*last.shape[:2], *self.grid)


class Headless:
    """Goes before a timm class, so that `forward` ends where `forward_features` does."""

    layout: Layout

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) -> feature map (N, num_features, h, w)."""
        return self.layout.as_map(self.forward_features(images))  # type: ignore[attr-defined]


class HeadlessBeforeClassTokens(Headless):
    """The same where `forward_features` goes on to a class token, and none of that is wanted.

    Class attention reads the patches and leaves them as they are, but for scales and norms in
    XCiT. Its authors, too, take the map for detection from before these.
    """

    def forward_features(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) -> the last stage's map (N, C, h, w), normed."""
        maps: list[Tensor] = self.forward_intermediates(  # type: ignore[attr-defined]
            images, indices=1, norm=True, output_fmt="NCHW", intermediates_only=True
        )
        return maps[-1]


def roads_to_a_map(model: Any) -> tuple[type[Headless], ...]:
    """What may go before a model's class, the first to be tried first."""
    if not hasattr(model, "forward_intermediates"):
        return (Headless,)
    if any(getattr(model, name, None) is not None for name in _CLASS_ATTENTION):
        return (HeadlessBeforeClassTokens,)
    return (Headless, HeadlessBeforeClassTokens)


def find_layout(model: Any, features: object, image_size: Size) -> Layout | None:
    """How a model lays out what its `forward_features` returned for one image.

    Args:
        model: timm's.
        features: a tensor, or several from shallow to deep, of which the last one counts.
        image_size: (H, W) of the image in pixels.

    Returns:
        a layout, or None where the features are no grid over the image.
    """
    last = _last(features)
    if not isinstance(last, Tensor) or last.ndim not in (3, 4):
        return None
    width = model.num_features
    if last.ndim == 4:
        declared = getattr(model, "output_fmt", "NCHW") == "NHWC"
        if declared or last.shape[3] == width != last.shape[1]:
            return Layout("channels_last")
        return Layout()
    points = feature_points(model)
    if points and last.shape[1] == points[-1]["num_chs"] != last.shape[2] != width:
        grid = _find_grid(last.shape[2], image_size)
        return Layout("flat", grid=grid) if grid else None
    declared_prefix = getattr(model, "num_prefix_tokens", None)
    for prefix in (0, 1) if declared_prefix is None else (declared_prefix,):
        if grid := _find_grid(last.shape[1] - prefix, image_size):
            return Layout("tokens", prefix, grid)
    return None


def feature_points(model: Any) -> Sequence[dict[str, Any]]:
    """timm's notes on the places in a model that give a feature map, from shallow to deep."""
    info: Any = getattr(model, "feature_info", None) or ()
    points: Sequence[dict[str, Any]] = getattr(info, "info", info)
    return points


def no_map(architecture: str, given: str) -> WbczooError:
    """The refusal of a model, with what it gives instead of a feature map."""
    return WbczooError(
        f"A backbone must give a feature map, and timm/{architecture} gives {given}. "
        "Choose another backbone: `wbczoo list` shows them."
    )


def form_of(features: object) -> str:
    """Features in the words of a refusal: their shape, or what they are if no tensor."""
    return str(tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__)


def _find_grid(count: int, image_size: Size) -> Size | None:
    """(h, w) of so many patches. They are square, so that the grid has the image's aspect."""
    rows = max(1, round(math.sqrt(max(0, count) * image_size[0] / image_size[1])))
    # One or two tokens are those of a class and of its teacher, as in PiT.
    return (rows, count // rows) if count > 2 and count % rows == 0 else None


def _last(features: Any) -> Any:
    return features[-1] if isinstance(features, list | tuple) and features else features
