"""What a plugin declares: one frozen spec for each part, made of the standard library alone.

Importing a module that declares specs must import no framework; frameworks are imported inside
`build`. The shapes below use N images, H and W pixels, C channels, and h and w positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

CONTRACT = 1

Option = str | int | float | bool | None
Unit = Literal["patient", "slide", "photograph", "unknown"]
Split = Literal["train", "validation", "test"]
Size = tuple[int, int]  # (H, W)
Reads = Literal["pixels", "colours", "features"]
Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels of the file

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def name_composition(*parts: str) -> str:
    """The name of a composition by those of its backbone and branch, as `mobilenetv2+bilstm`."""
    return "+".join(part for part in parts if part != "none") or "none"


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How an RGB photograph becomes what a model reads.

    Attributes:
        crop: the name of a step in `wbczoo.images.CROPS`; `none` keeps the whole image.
        size: (H, W) in pixels; the image is squashed to it, whatever its aspect.
        interpolation: `bilinear` or `bicubic`.
        antialias: whether shrinking filters first, as Pillow does.
        mean: of each channel, on the scale where white is 1.
        std: likewise, above 0.
    """

    crop: str = "none"
    size: Size = (224, 224)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    antialias: bool = True
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    @property
    def finds_cell(self) -> bool:
        """Whether the crop shows a cell that the finder found, so that a field can be asked."""
        return self.crop in ("cell", "cell-wide")


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What every part declares.

    Attributes:
        name: how the part is selected; equal to the entry point's name. At most 64 ASCII letters,
            digits, dots, hyphens and underscores.
        contract: the version of this contract that the plugin was written for.
        requires: import names that must be installed before `build` can work; where one is not,
            the listing says `missing` and how to install it.
        licence: of the code or data, an SPDX name where there is one.
        reference: the paper or page that the part follows.
        options: name -> default of what `build` (or `samples`) takes beyond the contract;
            the values used are kept in the model's config.
        formerly: name -> what an option that was added later was before: a config that does not
            name the option means this value, which is therefore never written.
    """

    name: str
    contract: int = 1  # not CONTRACT: who says nothing wrote for the first
    requires: tuple[str, ...] = ()
    licence: str = ""
    reference: str = ""
    options: Mapping[str, Option] = field(default_factory=dict)
    formerly: Mapping[str, Option] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BackboneSpec(Spec):
    """A convolutional (or other) network that turns images into a feature map.

    Attributes:
        build: `build(*, image_size: (H, W), pretrained: bool = False, **options)` returns a
            torch module (N, 3, H, W) -> (N, num_features, h, w) with the attributes
            `num_features: int` and `last_block: tuple[str, ...]`, the prefixes of the parameter
            names that `--trainable last-block` opens. Its state-dict keys are upstream's less
            `classifier_keys`; every parameter is used by its forward; only `pretrained=True`
            may open a socket.
        preprocessing: what the usual weights expect. Where the module has `input_mean` and
            `input_std`, they win, and what came with a file of weights wins over both.
        classifier_keys: prefixes of upstream keys that the module does without.

    Raises:
        UsageError: from `build`, for an image size or an option that cannot be; exit code 2.
        WbczooError: from `build`, if weights cannot be had; exit code 1. Any other exception is
            told with the part's name.
    """

    build: Callable[..., Any]
    preprocessing: Preprocessing = Preprocessing()
    classifier_keys: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SequenceSpec(Spec):
    """A recurrent (or other) branch that reads the image or the feature map in order.

    Attributes:
        build: `build(*, image_size: (H, W), in_channels: int | None, hidden: int = 64,
            **options)` returns a torch module with `num_features: int` that gives
            (N, num_features). `hidden` is the user's `--hidden`, in units of one direction.
        reads: `pixels`, grey images (N, H, W) in [0, 1], or `colours`, RGB images (N, 3, H, W) in
            [0, 1], both with `in_channels` None; or `features`, the feature map (N, C, h, w),
            with `in_channels` C.

    Raises:
        UsageError: from `build`, for a size, a number of channels or an option that cannot be.
    """

    build: Callable[..., Any]
    reads: Reads = "pixels"


@dataclass(frozen=True, slots=True)
class Sample:
    """One image file of a data set and what is known about it.

    Attributes:
        path: relative to the data set's root with `/`, or the member's name in a zip.
        label: as the data set writes it; tasks map it to their classes.
        photograph: what the file was made from; None where nobody knows.
        group: photographs that must stay together share one; None: the photograph is its own.
        split: as the data set was published, or None.
        part: which of a data set's halves the file belongs to.
        box: the white cell that the label speaks of, where it is known to be the only one.
        boxes: of all white cells in the file; () where somebody looked and saw none, None where
            nobody knows.
        laboratory: a short name, where a data set holds several; None: the data set's own.
        slide: what the photograph is of, where it is known.
        patient: whose blood it is; a data set of `unknown` unit has the weakest of patient, slide
            and photograph that is known of each labelled file.
        labels: task name -> raw label, for tasks that read another one than `label`.
    """

    path: str
    label: str
    photograph: str | None = None
    group: str | None = None
    split: Split | None = None
    part: str = "photographs"
    box: Box | None = None
    boxes: tuple[Box, ...] | None = None
    laboratory: str | None = None
    slide: str | None = None
    patient: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, kw_only=True)
class DatasetSpec(Spec):
    """A labelled set of images.

    Attributes:
        samples: `samples(root: Path, **options)` yields a `Sample` for each image below a folder
            or inside a zip file, in a stable order. It reads names and tables, no pixels.
        unit: what a group is, and so of what a number speaks: new patients, slides or photographs;
            `unknown` where the files' origin is not known.
        laboratory: a short name of the one slide-making and imaging set-up; the name where empty.
        confounded: what else than the cell tells its class in these images, in a sentence.
        labels: task name -> raw label -> class; under `*`, for tasks that have no table. A label
            that equals a class but for case, plural and what joins its words needs no row.
        url: where the data come from.
        citation: of the paper or page that published them.
        prepare: `prepare(root: Path, **options)` makes or fetches the data, where that can be
            done without a person.

    Raises:
        UsageError: from `samples`, if `root` is no such data set; exit code 2.
        WbczooError: from `samples`, if it is damaged; from `prepare`, if it cannot be made.
    """

    samples: Callable[..., Iterable[Sample]]
    unit: Unit = "unknown"
    laboratory: str = ""
    confounded: str = ""
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    url: str = ""
    citation: str = ""
    prepare: Callable[..., None] | None = None


@dataclass(frozen=True, kw_only=True)
class BaselineSpec(Spec):
    """A classifier that is no network, for the same protocols and tables.

    Attributes:
        build: `build(*, seed: int, **options)` returns an object with
            `fit(images, labels, groups)` and `predict_proba(images)` for one task. `images` are
            a sequence of uint8 RGB arrays (H, W, 3) at their native size, left as they are;
            `labels` are class indices (N,), each class at least once; `groups` name what must
            stay together where `fit` splits once more. The probabilities are (N, classes), rows
            that sum to 1, and a function of the images, the training images and the seed.

    Raises:
        UsageError: from `build`, for an option that cannot be.
    """

    build: Callable[..., Any]


def _nothing(**_: object) -> None:
    return None


NO_BACKBONE = BackboneSpec(name="none", licence="MIT", build=_nothing)
NO_SEQUENCE = SequenceSpec(name="none", licence="MIT", build=_nothing)
