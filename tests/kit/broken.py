"""Specs that keep the contract, and for each check one that breaks it there and nowhere else."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from wbczoo.errors import UsageError
from wbczoo.specs import (
    BackboneSpec,
    BaselineSpec,
    DatasetSpec,
    Preprocessing,
    Sample,
    SequenceSpec,
    Spec,
)

SIZE = (64, 64)


def net(name: str) -> Callable[..., Any]:
    """`build` of a network of `broken_networks`."""

    def build(*, image_size: tuple[int, int], pretrained: bool = False) -> Any:
        import broken_networks

        if pretrained:
            raise UsageError("There are no weights.")
        return getattr(broken_networks, name)(image_size)

    return build


def _ignores_pretrained(*, image_size: tuple[int, int], pretrained: bool = False) -> Any:
    import broken_networks

    return broken_networks.Net(image_size)


def _renames_pretrained(*, image_size: tuple[int, int], pretrained: bool = False) -> Any:
    import broken_networks

    return broken_networks.Reader(3) if pretrained else broken_networks.Net(image_size)


def backbone(network: str, **changes: Any) -> BackboneSpec:
    """A backbone of a network, with a good declaration but for the changes."""
    declared: dict[str, Any] = {
        "name": network.lower(),
        "requires": ("torch",),
        "licence": "MIT",
        "build": net(network),
        "preprocessing": Preprocessing(size=SIZE),
    }
    return BackboneSpec(**declared | changes)


def branch(network: str) -> SequenceSpec:
    """A branch over features, of a network."""

    def build(*, image_size: Any, in_channels: int | None, hidden: int = 64) -> Any:
        import broken_networks

        return getattr(broken_networks, network)(in_channels)

    return SequenceSpec(
        name=network.lower(), requires=("torch",), licence="MIT", build=build, reads="features"
    )


def _without_pretrained(*, image_size: Any) -> Any:
    return net("Net")(image_size=image_size)


def _no_module(*, image_size: Any, pretrained: bool = False) -> Any:
    return "a network"


def prepare(root: Path) -> None:
    """Eight photographs of two classes, two views of each."""
    from PIL import Image

    root.mkdir(parents=True)
    with (root / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        for number in range(8):
            label, split = ("neutro", "mono")[number % 2], ("train", "test")[number // 6]
            for view in range(2):
                name = f"{number}_{view}.png"
                Image.new("RGB", (40, 30), (200, 20 * number, 100 * view)).save(root / name)
                table.writerow((name, label, number, split))


def samples(root: Path) -> Iterator[Sample]:
    """The rows of `prepare`'s table."""
    with (root / "labels.csv").open(newline="", encoding="utf-8") as stream:
        for path, label, photograph, split in csv.reader(stream):
            yield Sample(path, label, photograph, None, split)  # type: ignore[arg-type]


def _shuffled(root: Path) -> list[Sample]:
    return random.SystemRandom().sample(found := list(samples(root)), len(found))


def _outside(root: Path) -> Iterator[Sample]:
    return (replace(sample, path=f"../{sample.path}") for sample in samples(root))


def _other_split(root: Path) -> list[Sample]:
    return [replace(sample, split="Training") for sample in samples(root)]  # type: ignore[arg-type]


def _no_box(root: Path) -> list[Sample]:
    return [replace(sample, box=("a", 1)) for sample in samples(root)]  # type: ignore[arg-type]


def _numbered(root: Path) -> list[Sample]:
    return [replace(sample, label=3) for sample in samples(root)]  # type: ignore[arg-type]


def _tuples(root: Path) -> list[Any]:
    return [(sample.path, sample.label) for sample in samples(root)]


def _absent(root: Path) -> list[Sample]:
    return [*samples(root), Sample("absent.png", "mono", "99", None, "train")]


def _orphan(root: Path) -> list[Sample]:
    return [replace(s, photograph=None) if s.path == "3_1.png" else s for s in samples(root)]


def _straddling(root: Path) -> list[Sample]:
    return [replace(s, split="test") if s.path == "1_1.png" else s for s in samples(root)]


def _straddling_groups(root: Path) -> list[Sample]:
    return [replace(s, group=f"slide {int(s.photograph or 0) % 4}") for s in samples(root)]


LABELS = {"cell": {"neutro": "neutrophil", "mono": "monocyte"}}
DATASET = DatasetSpec(
    name="good_data", samples=samples, prepare=prepare, unit="photograph", labels=LABELS
)


class Prior:
    """The share of each class, whatever the image."""

    def __init__(self, seed: int) -> None:
        self.shares: Any = None

    def fit(self, images: Any, labels: Any, groups: Any) -> None:
        import numpy as np

        self.shares = np.bincount(labels) / len(labels)

    def predict_proba(self, images: Any) -> Any:
        import numpy as np

        return np.tile(self.shares, (len(images), 1))


class OneIsTooFew(Prior):
    def predict_proba(self, images: Any) -> Any:
        assert len(images) > 1, "one is too few"
        return super().predict_proba(images)


class Relabels(Prior):
    def fit(self, images: Any, labels: Any, groups: Any) -> None:
        super().fit(images, labels, groups)
        labels[:] = 0


class OneSizeOnly(Prior):
    def fit(self, images: Any, labels: Any, groups: Any) -> None:
        import numpy as np

        np.stack(images)
        super().fit(images, labels, groups)


class Percent(Prior):
    def predict_proba(self, images: Any) -> Any:
        return super().predict_proba(images) * 100


class Dice(Prior):
    def fit(self, images: Any, labels: Any, groups: Any) -> None:
        self.shares = [share := random.SystemRandom().random() / 4, 0.5 - share, 0.25, 0.25]


class Ranks(Prior):
    """The first that is asked gets another answer than the second."""

    def predict_proba(self, images: Any) -> Any:
        found = super().predict_proba(images)
        found[1:] = 0.7, 0.1, 0.1, 0.1
        return found


BASELINE = BaselineSpec(name="good_baseline", licence="MIT", build=Prior)

GOOD: tuple[Spec, ...] = (
    backbone("Net"),
    backbone("FixedScale"),
    branch("Reader"),
    DATASET,
    BASELINE,
)

# Check -> specs that it must find, with a word of what it says.
BROKEN: dict[str, tuple[tuple[Spec, str], ...]] = {
    "check_declaration": (
        (backbone("Net", licence=""), "licence"),
        (backbone("Net", build=_without_pretrained), "pretrained"),
        (backbone("Net", options={"width": 3}), "width"),
        (backbone("Net", contract=2), "contract 2"),
        (backbone("Net", name="nét"), "ASCII"),
        (backbone("Net", classifier_keys="fc."), "classifier_keys"),
        (replace(DATASET, unit="patients"), "patients"),  # type: ignore[arg-type]
        (replace(DATASET, labels=LABELS["cell"]), "each task to a table"),  # type: ignore[arg-type]
        (replace(DATASET, laboratory=3), "`laboratory` is 3"),  # type: ignore[arg-type]
    ),
    "check_builds": (
        (backbone("Dialling"), "socket"),
        (backbone("Raising"), "no network today"),
        (backbone("Net", build=_no_module), "returns a str"),
    ),
    "check_num_features": ((backbone("WidthLies"), "says 7, and its forward gives 24"),),
    "check_batches": ((backbone("BatchBaked"), "batch of 1"),),
    "check_rows_alone": ((backbone("ReadsNeighbours"), "neighbour"),),
    "check_finite": ((backbone("DividesByNothing"), "black images"),),
    "check_parameters_used": (
        (backbone("Spare"), "classifier.weight"),
        (backbone("CutOff"), "token"),
    ),
    "check_state_dict": ((backbone("Forgets"), "neither a parameter nor a buffer"),),
    "check_seed": ((backbone("OtherDice"), "last.weight"),),
    "check_last_block": (
        (backbone("NoSuchBlock"), "layer4."),
        (backbone("AllIsLast"), "every parameter"),
    ),
    "check_pretrained": (
        (backbone("Net", build=_ignores_pretrained), "drawn at random"),
        (backbone("Net", build=_renames_pretrained), "not what it is without"),
    ),
    "check_frozen": ((backbone("Counts"), "seen"),),
    "check_preprocessing": (
        (
            backbone("Net", preprocessing=Preprocessing(size=SIZE, mean=(123.7, 116.3, 103.5))),
            "255",
        ),
        (backbone("OneSize"), "96 x 128"),
    ),
    "check_onnx": ((backbone("AnotherGraph"), "differs from PyTorch"),),
    "check_order": ((branch("Orderless"), "reads no sequence"),),
    "check_samples": (
        (replace(DATASET, samples=_shuffled), "differ"),
        (replace(DATASET, samples=_outside), "below the root"),
        (replace(DATASET, samples=_other_split), "Training"),
        (replace(DATASET, samples=_no_box), "four whole numbers"),
        (replace(DATASET, samples=_numbered), "The label 3 of '0_0.png' is no text"),
        (replace(DATASET, samples=_tuples), "yields a tuple, not a Sample"),
    ),
    "check_labels": (
        (replace(DATASET, labels={"cell": {**LABELS["cell"], "eo": "eosin"}}), "eosin"),
        (replace(DATASET, labels={}), "No task"),
    ),
    "check_files": ((replace(DATASET, samples=_absent), "absent.png"),),
    "check_unit": (
        (replace(DATASET, samples=_orphan), "1 of 16"),
        (replace(DATASET, unit="unknown"), "16 files"),
    ),
    "check_splits": (
        (replace(DATASET, samples=_straddling), "two splits"),
        (replace(DATASET, samples=_straddling_groups), "2 of 6"),
    ),
    "check_probabilities": (
        (replace(BASELINE, build=Percent), "sum to 1"),
        (replace(BASELINE, build=Relabels), "changes the labels"),
        (replace(BASELINE, build=OneSizeOnly), "fails on drawn smears"),
    ),
    "check_baseline_seed": ((replace(BASELINE, build=Dice), "one seed"),),
    "check_baseline_rows_alone": (
        (replace(BASELINE, build=Ranks), "depends on which other"),
        (replace(BASELINE, build=OneIsTooFew), "one is too few"),
    ),
}
