"""Backbones from torchvision: two by short names, and every other model as `torchvision/NAME`.

Declarations only; torchvision, which takes seconds to import, comes in when one is built.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from wbczoo.specs import BackboneSpec, Preprocessing, Size

REQUIRES = ("torch", "torchvision")

# What torchvision's models call the parts behind their feature map.
HEADS = ("classifier.", "fc.", "head.", "heads.", "aux1.", "aux2.", "AuxLogits.")

# Two of the weights were ported from TensorFlow: torchvision's `transform_input` undoes the
# ImageNet normalisation and scales to [-1, 1], which is this mean and std without that detour.
PORTED = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))

_FAMILY_REFERENCE = (
    "The torchvision maintainers 2016, TorchVision; papers and weights' licences vary"
)

_NAME = re.compile(r"[a-z]\w*", re.ASCII)


def _declare(
    name: str,
    model: str,
    classifier_keys: tuple[str, ...],
    reference: str,
    last_block: tuple[str, ...] = (),
) -> BackboneSpec:
    def build(*, image_size: Size, pretrained: bool = False) -> Any:
        from wbczoo_torchvision.features import build_features

        features = build_features(model, image_size, pretrained)
        features.last_block = last_block or features.last_block
        return features

    return BackboneSpec(
        name=name,
        requires=REQUIRES,
        licence="BSD-3-Clause",
        reference=reference,
        build=build,
        preprocessing=PORTED if model in ("googlenet", "inception_v3") else Preprocessing(),
        classifier_keys=classifier_keys,
    )


GOOGLENET = _declare(
    "googlenet",
    "googlenet",
    ("fc.", "aux1.", "aux2."),
    "Szegedy et al. 2015, arXiv:1409.4842",
)
SQUEEZENET1_1 = _declare(
    "squeezenet1_1",
    "squeezenet1_1",
    ("classifier.",),
    "Iandola et al. 2016, arXiv:1602.07360",
    # The family opens all four Fire modules behind the last pooling; runs by this name, only this.
    last_block=("features.12.",),
)


class TorchvisionFamily(Mapping[str, BackboneSpec]):
    """Every classifier of torchvision by its own name; asking for one imports nothing.

    Whether torchvision has the model is known when it is built, or when the family is enumerated.
    """

    requires = REQUIRES
    licence = "BSD-3-Clause"

    def __getitem__(self, name: str) -> BackboneSpec:
        if not _NAME.fullmatch(name):
            raise KeyError(name)
        return _declare(f"torchvision/{name}", name, HEADS, _FAMILY_REFERENCE)

    def __iter__(self) -> Iterator[str]:
        from wbczoo_torchvision.features import list_models

        return iter(list_models())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def smallest_of_each(self, size: Size) -> Iterator[tuple[str, str | None, str]]:
        """For each architecture its member with the fewest parameters that reads such images.

        Args:
            size: (H, W) in pixels.

        Yields:
            the architecture (torchvision's module that defines it), the member's name, and "";
            or the architecture, None, and why its smallest member cannot.
        """
        from wbczoo_torchvision.features import smallest_of_each

        return smallest_of_each(size)


TORCHVISION = TorchvisionFamily()
