"""torchvision models lose their classifiers here and become backbones."""

from __future__ import annotations

from typing import cast

from torch import Tensor
from torchvision import models


class GoogLeNetFeatures(models.GoogLeNet):
    """GoogLeNet up to its last inception block: (N, 3, H, W) -> (N, 1024, h, w)."""

    num_features = 1024
    last_block = ("inception5a.", "inception5b.")

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images to their feature map."""
        found = images
        for child in self.children():  # in the order of the figure
            found = child(found)
        return found


class SqueezeNetFeatures(models.SqueezeNet):
    """SqueezeNet up to its last fire module: (N, 3, H, W) -> (N, 512, h, w)."""

    num_features = 512
    last_block = ("features.12.",)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images to their feature map."""
        return cast(Tensor, self.features(images))


def build_googlenet(pretrained: bool) -> GoogLeNetFeatures:
    """GoogLeNet without pooling, classifier and auxiliary classifiers."""
    model = GoogLeNetFeatures(aux_logits=False, transform_input=False, init_weights=True)
    for name in ("avgpool", "dropout", "fc", "aux1", "aux2"):
        delattr(model, name)
    if pretrained:
        state = models.GoogLeNet_Weights.IMAGENET1K_V1.get_state_dict(progress=True)
        model.load_state_dict(
            {key: value for key, value in state.items() if not key.startswith(("fc.", "aux"))}
        )
    return model


def build_squeezenet(pretrained: bool) -> SqueezeNetFeatures:
    """SqueezeNet 1.1 without its classifier."""
    model = SqueezeNetFeatures(version="1_1")
    del model.classifier
    if pretrained:
        state = models.SqueezeNet1_1_Weights.IMAGENET1K_V1.get_state_dict(progress=True)
        model.load_state_dict(
            {key: value for key, value in state.items() if not key.startswith("classifier.")}
        )
    return model
