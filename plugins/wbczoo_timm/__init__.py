"""Backbones from timm: six by short names, and every other model as `timm/NAME`.

Declarations only; timm, which takes seconds to import, comes in when one is built.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from wbczoo.specs import BackboneSpec, Option, Preprocessing, Size

REQUIRES = ("torch", "timm", "torchvision")  # timm does not load without the last

# What timm's models call the parts behind their feature map. A file's key that starts with one of
# these is left out only where the built backbone has no such key.
HEADS = (
    "classifier.",
    "classif.",
    "in_conv.",
    "pre_classifier.",
    "fc.",
    "head.",
    "head_dist.",
    "head_drop.",
    "head_norm.",
    "pre_logits.",
    "conv_head.",
    "norm_head.",
    "last_linear.",
    "last_layer.",
    "fc_norm.",
    "attn_pool.",
    "final_conv.",
    "aux_head.",
    "AuxLogits.",
    # Class tokens and what only they pass, where the map does not depend on them.
    "cls_token",
    "blocks_token_only.",
    "cls_attn_blocks.",
    "post_network.",
    # What several scales or states are weighed with for one answer.
    "aggregate.",
    "heads.",
    "heads_dist.",
    "weights",
    "norm.",
    "norm2.",
    "norm3.",
    "parallel_blocks.5.norm22.",
    "parallel_blocks.5.norm23.",
)

_FAMILY_REFERENCE = "Wightman 2019, PyTorch Image Models; papers and weights' licences vary"

# A timm name: an architecture, and the tag of one of its weights.
_NAME = re.compile(r"\w+(\.\w+)?")
# A model that somebody put on the hub in timm's form, perhaps of one revision.
_ON_HUB = re.compile(r"hf-hub:[\w.-]+/[\w.-]+(@[\w.-]+)?")

_HALF = (0.5, 0.5, 0.5)
_BICUBIC = Preprocessing(interpolation="bicubic")


def _declare(
    name: str,
    model: str,
    classifier_keys: tuple[str, ...],
    reference: str = "",
    preprocessing: Preprocessing | None = None,
    further: Mapping[str, Option] | None = None,
) -> BackboneSpec:
    options = {"norm": "batch", "lora": 0, **(further or {})}

    def build(*, image_size: Size, pretrained: bool = False, **chosen: Any) -> Any:
        from wbczoo_timm.features import build_features

        return build_features(model, image_size, pretrained, **chosen)

    return BackboneSpec(
        name=name,
        requires=REQUIRES,
        licence="Apache-2.0",
        reference=reference,
        build=build,
        options=options,
        formerly=options,
        preprocessing=preprocessing or Preprocessing(),
        classifier_keys=classifier_keys,
    )


MOBILENETV2 = _declare(
    "mobilenetv2", "mobilenetv2_100", ("classifier.",), "Sandler et al. 2018, arXiv:1801.04381"
)
# The report's weights are torchvision's; timm's own default for this one was trained otherwise.
RESNET18 = _declare("resnet18", "resnet18.tv_in1k", ("fc.",), "He et al. 2016, arXiv:1512.03385")
VGG16 = _declare(
    "vgg16",
    "vgg16",
    ("pre_logits.", "head.", "classifier."),  # the last in torchvision's file, whose keys fit too
    "Simonyan and Zisserman 2015, arXiv:1409.1556",
)
EFFICIENTNET_LITE0 = _declare(
    "efficientnet_lite0",
    "tf_efficientnet_lite0",
    ("classifier.",),
    "Tan and Le 2019, arXiv:1905.11946, without squeeze-and-excitation",
    Preprocessing(interpolation="bicubic", mean=_HALF, std=_HALF),
)
MOBILENETV3_SMALL = _declare(
    "mobilenetv3_small",
    "mobilenetv3_small_100",
    ("conv_head.", "norm_head.", "classifier."),
    "Howard et al. 2019, arXiv:1905.02244",
    _BICUBIC,
)
CONVNEXT_ATTO = _declare(
    "convnext_atto",
    "convnext_atto",
    ("head.",),
    "Liu et al. 2022, arXiv:2201.03545; atto by timm",
    _BICUBIC,
)


class TimmFamily(Mapping[str, BackboneSpec]):
    """Every model of timm by its own name, or one on the hub as `hf-hub:OWNER/NAME`.

    Asking for one imports nothing.

    Whether timm has the model is known when it is built, or when the family is enumerated.
    """

    requires = REQUIRES
    licence = "Apache-2.0"

    def __getitem__(self, name: str) -> BackboneSpec:
        if _ON_HUB.fullmatch(name):
            # What its config.json says, kept so that a run is built again without the hub.
            told: dict[str, Option] = {"hub_architecture": "", "hub_arguments": ""}
            return _declare(f"timm/{name}", name, HEADS, _FAMILY_REFERENCE, further=told)
        if not _NAME.fullmatch(name):
            raise KeyError(name)
        return _declare(f"timm/{name}", name, HEADS, _FAMILY_REFERENCE)

    def __iter__(self) -> Iterator[str]:
        import timm

        return iter(timm.list_models())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def smallest_of_each(self, size: Size) -> Iterator[tuple[str, str | None, str]]:
        """Each of timm's modules of models, its member with the fewest parameters, or why none."""
        from wbczoo_timm.architectures import smallest_of_each

        return smallest_of_each(size)


TIMM = TimmFamily()
