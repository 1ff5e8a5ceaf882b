"""A model goes to a hub and comes back here, by huggingface_hub's mixin and as safetensors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
from huggingface_hub import HfApi, ModelCard, ModelCardData, ModelHubMixin, hf_hub_download
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from wbczoo import __version__, files
from wbczoo.config import ModelConfig
from wbczoo.errors import WbczooError
from wbczoo.model.novelty import Novelty
from wbczoo.model.parts import add_adapters, build_backbone, build_sequence
from wbczoo.text import one_line

# A model here is a `FusedClassifier`, which is made of this class and imports it.
CONFIG, WEIGHTS = "config.json", "model.safetensors"
_SEED, _IMAGES = 0, 2  # of the example that is answered again
_BOUND = 1e-3  # by which its logits may differ, of the largest one


class HubModel(ModelHubMixin):
    """`push_to_hub`, `save_pretrained` and `from_pretrained` for a `FusedClassifier`.

    A repository has `config.json` (the composition, `id2label` for each task, the weights' hash
    and logits of an example), `model.safetensors` and a card. What is sent is read again and must
    answer the example as the model does; what comes must answer it as it did when it was sent.
    `wbczoo push` sends an export with its figures instead.
    """

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        revision: str | None = None,
        **options: Any,
    ) -> Self:
        """A model from `OWNER/NAME` on the hub, or from a folder, in evaluation mode on the CPU.

        Args:
            revision: a branch, tag or commit.
            options: `token`, `cache_dir`, `force_download` and `local_files_only`.

        Raises:
            UsageError: if a part that it consists of is not installed.
            WbczooError: if a file is damaged, or the example is answered differently.
        """
        name = os.fspath(pretrained_model_name_or_path)
        if not Path(name).is_dir() and not options.get("local_files_only"):
            # A branch may move between two files; a commit does not.
            revision = HfApi(token=options.get("token")).model_info(name, revision=revision).sha
        return super().from_pretrained(name, revision=revision, **options)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, revision: str | None, **options: Any) -> Self:
        if Path(model_id).is_dir():
            return cast(Self, _read(cls, Path(model_id)))
        allowed = ("cache_dir", "force_download", "local_files_only", "token")
        asked = {name: options[name] for name in allowed if name in options}
        places = [
            hf_hub_download(model_id, n, revision=revision, **asked) for n in (WEIGHTS, CONFIG)
        ]
        return cast(Self, _read(cls, Path(places[1]).parent))

    def _save_pretrained(self, save_directory: Path) -> None:
        model: Any = self
        weights = save_directory / WEIGHTS
        tensors = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
        with files.written_aside(weights) as aside:
            save_file(tensors, aside, {"format": "pt"})
        document: dict[str, Any] = {
            "wbczoo": __version__,
            "model_type": "wbczoo",
            "model": model.config.model_dump(mode="json"),
            "id2label": {
                task.name: {str(place): name for place, name in enumerate(task.classes)}
                for task in model.config.tasks
            },
            "weights_sha256": files.sha256_of(weights),
        }
        again = _rebuild(type(self), model.config, tensors, weights)
        example = _answer(again)
        here = next(model.parameters()).device
        training = model.training
        model.eval()
        far = _distance(_answer(model, here), example)
        model.train(training)
        if not far <= 10 * _BOUND:  # also where an answer is no number
            raise WbczooError(
                f"The model does not answer as what its config describes ({far:.1e} apart), so "
                "nothing was sent: a part of it was replaced, or it answers no numbers. Compose it "
                "by wbczoo.create_model."
            )
        document["example"] = {"seed": _SEED, "logits": example}
        files.write_json(save_directory / CONFIG, document)

    def generate_model_card(self, *_: Any, **__: Any) -> ModelCard:
        """The page that a hub shows, whose head its validator takes."""
        config = cast(Any, self).config
        named = [part.name for part in (config.backbone, config.sequence) if part.name != "none"]
        data = ModelCardData(
            license="other",
            license_name="see-the-card",
            library_name="wbczoo",
            pipeline_tag="image-classification",
            tags=["white-blood-cells", "haematology", "microscopy", *named],
        )
        classes = "\n".join(f"- {task.name}: {', '.join(task.classes)}" for task in config.tasks)
        return ModelCard(
            f"---\n{data.to_yaml()}\n---\n\n# {' + '.join(named)}\n\n{classes}\n\n"
            "A classifier of white blood cells as a PyTorch module, without figures of its own: "
            "measure it before its answers mean anything. It is for research on images of single "
            "cells, not for diagnosis. Its initial weights and data have licences of their own.\n\n"
            "```python\nfrom wbczoo.model.fused import FusedClassifier\n\n"
            'model = FusedClassifier.from_pretrained("OWNER/NAME")\n```\n'
        )


def _read(kind: Any, folder: Path) -> Any:
    """The model of a folder, if it answers as it did."""
    document = files.read_json(folder / CONFIG)
    weights = folder / WEIGHTS
    try:
        if files.sha256_of(weights) != document["weights_sha256"]:
            raise WbczooError(f"{weights} is not the file that {CONFIG} speaks of. Fetch it again.")
        config = ModelConfig.model_validate(document["model"])
        model = _rebuild(kind, config, load_file(weights), weights)
        known = {task.name: [*task.classes] for task in config.tasks}
        said = {task: [*named.values()] for task, named in document["id2label"].items()}
        logits = document["example"]["logits"]
        if said != known:
            raise WbczooError(f"{folder / CONFIG} contradicts itself: its id2label are others.")
        far = _distance(_answer(model, seed=document["example"]["seed"]), logits)
    except (
        OSError,
        SafetensorError,
        ValidationError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:
        raise WbczooError(f"{folder} holds no model that can be read: {one_line(error)}") from None
    if not far <= _BOUND:
        raise WbczooError(
            f"The model of {folder} answers its example differently ({far:.1e} apart). A part that "
            "it consists of is of another version here, or the files are damaged."
        )
    return model


def _rebuild(kind: Any, config: ModelConfig, tensors: dict[str, Tensor], where: Path) -> Any:
    with torch.random.fork_rng(devices=[]):
        backbone = build_backbone(config)
        add_adapters(backbone)
        sequence, reads = build_sequence(config, backbone)
        model = kind(config, backbone, sequence, reads)
    model.novelty = Novelty.of_state(tensors, model.widths)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise WbczooError(f"{where} does not fit the config: {reason}") from None
    return model.eval()


def _answer(
    model: Any, device: torch.device | None = None, *, seed: int = _SEED
) -> dict[str, list[list[float]]]:
    """The logits of random images, for each task."""
    shape = (_IMAGES, 3, *model.config.preprocessing.size)
    images = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    with torch.inference_mode():
        found = model(torch.from_numpy(images).to(device or "cpu"))
    return {task: logits.float().cpu().tolist() for task, logits in found.items()}


def _distance(found: Mapping[str, Any], example: Mapping[str, Any]) -> float:
    """The largest difference, of the largest logit; infinite where the tasks are others, and no
    number where an answer is none."""
    pairs = [(np.array(found[task]), np.array(example.get(task, []))) for task in found]
    if any(one.shape != other.shape for one, other in pairs):
        return float("inf")
    far = [np.abs(one - other).max() / max(1.0, np.abs(other).max()) for one, other in pairs]
    return float(np.max(far))  # which keeps what is no number
