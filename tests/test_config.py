"""A config comes back from its JSON as it was, and says in a sentence what is wrong with it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wbczoo.config import (
    ModelConfig,
    Part,
    Preprocessing,
    RunConfig,
    TrainConfig,
    WeightsOrigin,
    train_config,
)
from wbczoo.errors import UsageError, WbczooError
from wbczoo.parts import choose_options
from wbczoo.tasks import CELL5, Task

RUN = RunConfig(
    model=ModelConfig(
        backbone=Part(name="mobilenetv2", distribution="wbczoo", version="0.1.0"),
        sequence=Part(
            name="theirs",
            distribution="their-package",
            version="2.0",
            options={"flag": True, "count": 1, "share": 1.0, "word": "1", "nothing": None},
        ),
        hidden=32,
        tasks=(CELL5, Task("mine", ("b", "a"))),
        preprocessing=Preprocessing(
            size=(160, 192), interpolation="bicubic", antialias=False, mean=(0.1, 0.2, 1 / 3)
        ),
        weights=WeightsOrigin(source="a.safetensors", sha256="ab", description="ImageNet"),
    ),
    train=TrainConfig(protocol="grouped", fold=3, lr=3e-4, seed=2**63 - 1),
    split_sha256="cd",
)


def changed(change: Callable[[dict[str, Any]], object]) -> str:
    """The JSON of the run above with one thing changed."""
    document = json.loads(RUN.model_dump_json())
    change(document)
    return json.dumps(document)


def test_a_run_config_comes_back_from_its_file_equal_and_typed(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "config.json"
    RUN.write(path)
    again = RunConfig.read(path)
    assert again == RUN
    assert again.model_dump_json() == RUN.model_dump_json()
    kinds = {name: type(value) for name, value in again.model.sequence.options.items()}
    assert kinds == {"flag": bool, "count": int, "share": float, "word": str, "nothing": type(None)}
    assert again.model.tasks[1] == Task("mine", ("b", "a"))
    assert isinstance(again.model.preprocessing, Preprocessing)
    document = json.loads(path.read_text())
    assert document["format"] == 1
    assert document["model"]["tasks"][1] == {"name": "mine", "classes": ["b", "a"]}


def test_a_composition_that_was_never_trained_comes_back_too() -> None:
    bare = RunConfig(model=ModelConfig(backbone=Part(name="resnet18")))
    assert RunConfig.parse(bare.model_dump_json(), "it") == bare
    assert bare.train is None


@pytest.mark.parametrize(
    ("backbone", "sequence", "name"),
    [("a", "b", "a+b"), ("a", "none", "a"), ("none", "b", "b"), ("timm/x", "b", "timm/x+b")],
)
def test_a_composition_is_named_after_its_parts(backbone: str, sequence: str, name: str) -> None:
    assert ModelConfig(backbone=Part(name=backbone), sequence=Part(name=sequence)).name == name


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda d: d.update(format=2), "format: input should be 1"),
        (lambda d: d.pop("format"), "format: field required"),
        (lambda d: d.update(strange=1), "strange: extra inputs are not permitted"),
        (lambda d: d.pop("model"), "model: field required"),
        (lambda d: d["model"].update(width=3), "model.width: extra inputs"),
        (lambda d: d["model"].update(hidden=0), "model.hidden: input should be greater than 0"),
        (lambda d: d["model"].update(tasks=[]), "model.tasks: a model needs tasks"),
        (lambda d: d["model"]["tasks"].append(d["model"]["tasks"][0]), "each of its own name"),
        (lambda d: d["model"]["tasks"][0].update(name="X"), "names are lower-case"),
        (lambda d: d["model"]["tasks"][0].update(more=1), "model.tasks.0.more"),
        (lambda d: d["model"]["preprocessing"].update(gamma=2), "preprocessing.gamma"),
        (lambda d: d["model"]["preprocessing"].update(size=[0, 224]), "has no pixel"),
        (lambda d: d["model"]["preprocessing"].update(std=[0.2, 0, 0.2]), "std above 0"),
        (lambda d: d["model"]["preprocessing"].update(mean=[0.2, 0.1]), "mean.2: field required"),
        (lambda d: d["model"]["preprocessing"].update(interpolation="nearest"), "'bicubic'"),
        (lambda d: d["model"]["backbone"]["options"].update(a=[1]), "options.a"),
        (lambda d: d["train"].update(lr=0), "train.lr: input should be greater than 0"),
        (lambda d: d["train"].update(lr=math.nan), "invalid JSON|finite"),
        (lambda d: d["train"].update(seed=-1), "train.seed"),
        (lambda d: d["train"].update(batch_size=2.5), "train.batch_size"),
        (lambda d: d["train"].update(protocol="random"), "'external'"),
    ],
)
def test_a_strange_config_is_refused_with_file_and_field(
    change: Callable[[dict[str, Any]], object], sentence: str
) -> None:
    with pytest.raises(WbczooError, match=sentence) as caught:
        RunConfig.parse(changed(change), "runs/a/config.json")
    assert str(caught.value).startswith("runs/a/config.json is no config that this version reads: ")
    assert "https://" not in str(caught.value)
    assert caught.value.exit_code == 1  # the file is at fault, not what the user typed


@pytest.mark.parametrize("text", ["", "{", b"\xff\xfe\x00", "[]", "null", '"format"'])
def test_what_is_no_json_object_is_refused(text: str | bytes) -> None:
    with pytest.raises(WbczooError, match="it is no config that this version reads: the value: "):
        RunConfig.parse(text, "it")


def test_a_config_that_is_not_there_is_told_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(WbczooError, match=r"config\.json cannot be read: No such file"):
        RunConfig.read(tmp_path / "config.json")


def test_training_settings_are_told_one_by_one() -> None:
    with pytest.raises(UsageError) as caught:
        train_config(epochs="many", lr=math.inf, precision="fp64", limit_photographs=0)
    assert str(caught.value) == (
        "limit_photographs: input should be greater than 0. "
        "epochs: input should be a valid integer, unable to parse string as an integer. "
        "lr: input should be a finite number. "
        "precision: input should be 'auto', 'fp32' or 'bf16'."
    )
    assert caught.value.exit_code == 2


def test_the_defaults_are_the_documented_ones() -> None:
    config = train_config()
    assert (config.dataset.name, config.protocol, config.trainable) == (
        "folder",
        "official",
        "head",
    )
    assert (config.folds, config.fold, config.optimizer, config.augment) == (5, None, "adam", False)


DEFAULTS = {"flag": False, "count": 3, "share": 0.5, "word": "a", "path": None}


def test_options_take_the_type_of_their_default() -> None:
    texts = {"flag": "true", "count": "7", "share": "2", "word": "7", "path": "a=b"}
    options = choose_options(texts, DEFAULTS)
    assert options == {"flag": True, "count": 7, "share": 2.0, "word": "7", "path": "a=b"}
    assert list(map(type, options.values())) == [bool, int, float, str, str]
    typed = {"flag": True, "count": 7, "share": 2, "word": "7", "path": Path("a=b")}
    assert choose_options(typed, DEFAULTS) == options
    assert type(choose_options(typed, DEFAULTS)["share"]) is float


def test_options_that_are_not_given_keep_their_default() -> None:
    assert choose_options({"count": 4, "path": None}, DEFAULTS) == {**DEFAULTS, "count": 4}
    assert choose_options({}, {}) == {}


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("depth", 3, "'depth' is no option of this part; it has flag, count, share, word, path"),
        ("", "3", "is no option"),
        ("count", "3.5", "The option count=3.5 of .* takes a whole number, as its default 3 is"),
        ("count", "", "The option count= of .* a whole number"),
        ("count", True, "The option count=True of .* a whole number"),
        ("count", 3.0, "The option count=3.0 of .* a whole number"),
        ("count", None, "The option count=None of .* a whole number"),
        ("flag", "perhaps", "The option flag=perhaps of .* true or false"),
        ("flag", 1, "The option flag=1 of .* true or false"),
        ("word", 7, "The option word=7 of .* a text"),
        ("path", 7, r"The option path=7 of .* takes a text\."),
        ("share", "nan", "The option share=nan of .* a finite number"),
        ("share", math.inf, "finite"),
    ],
)
def test_options_that_cannot_be_are_wrong_usage(name: str, value: object, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        choose_options({name: value}, DEFAULTS)


def test_a_part_without_options_says_so() -> None:
    with pytest.raises(UsageError, match="it has none"):
        choose_options({"a": 1}, {})
