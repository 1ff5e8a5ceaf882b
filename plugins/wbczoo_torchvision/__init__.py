"""Backbones from torchvision that timm does not have.

Declarations only; the modules are in `features`, which is imported when one is built.
"""

from __future__ import annotations

from typing import Any

from wbczoo.specs import BackboneSpec, Preprocessing, Size


def _googlenet(*, image_size: Size, pretrained: bool = False) -> Any:
    from wbczoo_torchvision.features import build_googlenet

    return build_googlenet(pretrained)


def _squeezenet(*, image_size: Size, pretrained: bool = False) -> Any:
    from wbczoo_torchvision.features import build_squeezenet

    return build_squeezenet(pretrained)


GOOGLENET = BackboneSpec(
    name="googlenet",
    requires=("torch", "torchvision"),
    licence="BSD-3-Clause",
    reference="Szegedy et al. 2015, arXiv:1409.4842",
    build=_googlenet,
    # torchvision's weights were ported from TensorFlow: its `transform_input` undoes the ImageNet
    # normalisation and scales to [-1, 1], which is this mean and std without that detour.
    preprocessing=Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    classifier_keys=("fc.", "aux1.", "aux2."),
)

SQUEEZENET1_1 = BackboneSpec(
    name="squeezenet1_1",
    requires=("torch", "torchvision"),
    licence="BSD-3-Clause",
    reference="Iandola et al. 2016, arXiv:1602.07360",
    build=_squeezenet,
    classifier_keys=("classifier.",),
)
