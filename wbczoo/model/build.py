"""A config becomes a model here: new, or to be filled with a run's state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wbczoo import registry
from wbczoo.config import ModelConfig
from wbczoo.errors import UsageError
from wbczoo.model.compose import compose
from wbczoo.model.parts import add_adapters, build_backbone, build_sequence

if TYPE_CHECKING:
    from wbczoo.model.fused import FusedClassifier


def build(config: ModelConfig, *, weights: str = "none", seed: int = 0) -> FusedClassifier:
    """Build a new model with initial weights.

    Args:
        weights: `none`, `imagenet`, `pretrained` for those that the backbone's plugin brings, or
            the path of a safetensors file for the backbone.
        seed: of all that starts at random; torch's own random state is left as it was.

    Returns:
        the model; its `config` says where the weights came from, and its preprocessing is the
        one that came with them.

    Raises:
        UsageError: if a part cannot be used here, or there is no such weights file.
        WbczooError: if the weights cannot be had or do not fit.
    """
    import torch

    from wbczoo.model import weights as initial

    if open_tasks := [task.name for task in config.tasks if task.takes_all]:
        raise UsageError(
            f"The task {open_tasks[0]} takes its classes from data, and there are none here: name "
            f"them, {open_tasks[0]}=CLASS,CLASS."
        )
    found = initial.find(config.backbone.name, weights)
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which would seed the GPUs' generators too.
        torch.default_generator.manual_seed(seed)
        backbone = build_backbone(
            config, pretrained=found.from_plugin, own=weights == initial.PRETRAINED
        )
        if backbone is not None:
            spec = registry.backbones.spec(config.backbone.selector)
            initial.load(backbone, found, spec)
            add_adapters(backbone)
            config = config.model_copy(
                update={
                    "backbone": config.backbone.settled(getattr(backbone, "settled_options", {})),
                    "weights": initial.origin_of(config, backbone, found),
                    "preprocessing": initial.preprocessing_of(config, backbone, found),
                }
            )
        return _fuse(config, backbone)


def create_model(
    backbone: str, sequence: str = "none", *, weights: str = "none", seed: int = 0, **options: Any
) -> FusedClassifier:
    """Compose a new model of parts by their names.

    Args:
        options: `tasks`, `hidden`, `image_size`, `crop`, `backbone_options` and
            `sequence_options`, as `wbczoo.model.compose.compose` takes them.
        weights, seed: as `build` takes them.

    Returns:
        a torch module: uint8 RGB images (N, 3, H, W) -> {task: logits (N, classes)}.

    Raises:
        UsageError, WbczooError: as `compose` and `build` do.
    """
    return build(compose(backbone, sequence, **options), weights=weights, seed=seed)


def rebuild(config: ModelConfig, *, seed: int | None = None) -> FusedClassifier:
    """Build the model that a run's config describes, for its state to be loaded into.

    Args:
        seed: of all that starts at random, where not all of it is loaded.

    Raises:
        UsageError: if a part that the run used is not installed.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        backbone = build_backbone(config, pretrained=False)
        add_adapters(backbone)
        return _fuse(config, backbone)


def _fuse(config: ModelConfig, backbone: Any) -> FusedClassifier:
    from wbczoo.model.fused import FusedClassifier
    from wbczoo.model.weights import digest_of

    sequence, reads = build_sequence(config, backbone)
    model = FusedClassifier(config, backbone, sequence, reads)
    model.initial = digest_of(model.state_dict())
    return model


def describe_model(model: FusedClassifier) -> dict[str, Any]:
    """Name, counts of parameters, widths, tasks and weights, as `build --json` prints them."""
    return {
        "name": model.config.name,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "trainable_parameters": sum(p.numel() for _, p in model.named_trainable()),
        "features": {
            "backbone": model.backbone_features,
            "sequence": model.sequence_features,
            "fused": model.backbone_features + model.sequence_features,
        },
        "tasks": {task.name: list(task.classes) for task in model.config.tasks},
        "weights": model.config.weights.model_dump(),
        "config": model.config.model_dump(mode="json"),
    }
