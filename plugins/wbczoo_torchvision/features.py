"""torchvision models lose their classifiers here and become backbones."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from torch import nn
from torchvision import models


class Features(nn.Sequential):
    """The children of a model up to its feature map, one after the other.

    They keep their names, so that the keys of the state are upstream's.

    Args:
        children: in the order in which the image passes them.
        num_features: channels of the last one's output.
        last_block: prefixes of the names of the last block's parameters.
    """

    def __init__(
        self, children: dict[str, nn.Module], num_features: int, last_block: tuple[str, ...]
    ) -> None:
        super().__init__(OrderedDict(children))
        self.num_features = num_features
        self.last_block = last_block


def build_googlenet(pretrained: bool) -> Features:
    """GoogLeNet up to its last inception block: (N, 3, H, W) -> (N, 1024, h, w)."""
    model = models.GoogLeNet(aux_logits=False, transform_input=False, init_weights=not pretrained)
    behind = ("avgpool", "dropout", "fc")
    children = {name: child for name, child in model.named_children() if name not in behind}
    features = Features(children, 1024, ("inception5a.", "inception5b."))
    if pretrained:
        _load(features, models.GoogLeNet_Weights.IMAGENET1K_V1, ("fc.", "aux1.", "aux2."))
    return features


def build_squeezenet(pretrained: bool) -> Features:
    """SqueezeNet 1.1 up to its last Fire module: (N, 3, H, W) -> (N, 512, h, w)."""
    model = models.squeezenet1_1(weights=None)
    features = Features({"features": model.features}, 512, ("features.12.",))
    if pretrained:
        _load(features, models.SqueezeNet1_1_Weights.IMAGENET1K_V1, ("classifier.",))
    return features


def _load(features: Features, weights: Any, classifier_keys: tuple[str, ...]) -> None:
    """Fetch torchvision's weights (or find them in torch's own cache) and load them strictly."""
    state = weights.get_state_dict(check_hash=True, weights_only=True)
    features.load_state_dict(
        {key: tensor for key, tensor in state.items() if not key.startswith(classifier_keys)}
    )
