"""Cached features: computed once, damaged ones again, equal by either way of computing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_study import context, trial

from wbczoo.errors import UsageError
from wbczoo.study.run import features
from wbczoo.study.run.context import build_trial, fill_features
from wbczoo.study.run.features import FeatureCache, Features, open_by_onnxruntime


def test_features_are_computed_once_and_a_damaged_file_again(
    smears: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = context(smears, tmp_path)
    model, split = build_trial(trial()), shared.library.split(trial(), None)
    computed = []
    choose = features.choose_engine

    def counted(*arguments: object) -> object:
        computed.append(arguments[3])
        return choose(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(features, "choose_engine", counted)

    def fill() -> torch.Tensor:
        cache = FeatureCache(model, "pooled", tmp_path)
        fill_features(cache, split, shared)
        return cache.gather([split.rows.hashes[n] for n in split.test])

    first = fill()
    everyone = len({split.rows.hashes[n] for r in ("train", "validation", "test")
                    for n in split.numbers(r)})  # fmt: skip
    assert computed == [everyone]
    assert torch.equal(fill(), first)
    assert computed == [everyone]
    (path,) = (tmp_path / "features").rglob("*.safetensors")
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    assert torch.equal(fill(), first)
    assert computed == [everyone, everyone]


def test_another_state_of_the_backbone_is_another_cache(tmp_path: Path) -> None:
    folders = {
        FeatureCache(build_trial(trial(seed=seed)), kind, tmp_path).folder
        for seed in (0, 1)
        for kind in ("pooled", "map")
    }
    assert len(folders) == 4
    again = FeatureCache(build_trial(trial(batch_size=9, lr=1e-5)), "pooled", tmp_path)
    assert again.folder in folders


def test_a_backbone_with_adapters_is_not_cached(smears: Path, tmp_path: Path) -> None:
    # Any option leads to a training from images, as `wbczoo train` does it.
    assert trial().model_copy(update={"backbone_options": {"lora": 4}}).how == "images"
    assert trial().how == "cached heads"
    model = build_trial(trial())
    model.backbone.adapters = ("blocks.0.lora_",)  # as of a plugin whose adapters are no option
    with pytest.raises(UsageError, match="adapters that train"):
        context(smears, tmp_path).features(model, "pooled")


@pytest.mark.parametrize("kind", ["pooled", "map"])
def test_onnxruntime_gives_the_classifiers_own_features(kind: features.Kind) -> None:
    model = build_trial(trial())
    size = model.config.preprocessing.size
    by_onnx = open_by_onnxruntime(Features(model, kind).eval(), size)
    assert by_onnx is not None
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, 3, 224, 224), dtype=torch.uint8, generator=generator)
    assert model.backbone is not None
    with torch.inference_mode():
        expected = model.backbone((images.float() / 255 - model.mean) / model.std)
    found = by_onnx(images)
    expected = expected if kind == "map" else expected.mean((2, 3))
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))
