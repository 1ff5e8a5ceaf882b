"""What a plugin declares or builds in another form is told in a sentence, where it is met."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_plugins import install, run

from wbczoo.data.samples import read_rows
from wbczoo.errors import WbczooError
from wbczoo.registry.declared import misdeclared
from wbczoo.specs import (
    BackboneSpec,
    BaselineSpec,
    DatasetSpec,
    Preprocessing,
    Sample,
    SequenceSpec,
    Spec,
)

BACKBONE: dict[str, Any] = {"name": "net", "build": print}
DATASET: dict[str, Any] = {"name": "data", "samples": list}

# Backbones whose `build` returns what cannot be composed.
BUILT = """
from wbczoo.specs import BackboneSpec, Preprocessing

def build(*, image_size, pretrained=False):
    from torch import nn
    {body}

PART = BackboneSpec(name={name!r}, build=build{more})
"""
DRAWS = """
from wbczoo.specs import DatasetSpec

def prepare(root, *, photographs=4, brush=None):
    raise AssertionError("nothing is to be drawn")

PART = DatasetSpec(name="drawn", samples=list, prepare=prepare)
"""
BODIES = {
    "nothing": ("return None", ""),
    "narrow": ("return nn.Conv2d(3, 8, 3)", ""),
    "raises": ("raise KeyError('tanh')", ""),
    "letters": (
        "net = nn.Conv2d(3, 8, 3); net.num_features, net.last_block = 8, 'weight'; return net",
        "",
    ),
    "crops": ("return None", ", preprocessing=Preprocessing(crop='cel')"),
}


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (BackboneSpec(**BACKBONE), ""),
        (BackboneSpec(**BACKBONE | {"build": 3}), "`build` is 3, and no function."),
        (BackboneSpec(**BACKBONE, options=["a"] * 99), "`options` is ['a', 'a'"),  # type: ignore[arg-type]
        (BackboneSpec(**BACKBONE, options={"a": [1]}), "The option 'a' has the default [1]"),  # type: ignore[dict-item]
        (BackboneSpec(**BACKBONE, preprocessing={}), "`preprocessing` is {}; it is a Prepro"),  # type: ignore[arg-type]
        (
            BackboneSpec(**BACKBONE, preprocessing=Preprocessing(size=64)),  # type: ignore[arg-type]
            "`preprocessing.size` is 64; it is (H, W) in pixels.",
        ),
        (SequenceSpec(**BACKBONE, reads="grey"), "`reads` is 'grey'; it is 'pixels'"),  # type: ignore[arg-type]
        (BaselineSpec(**BACKBONE, formerly=3), "`formerly` is 3; it maps names"),  # type: ignore[arg-type]
        (DatasetSpec(**DATASET, labels={"cell": {"NE": "neutrophil"}}), ""),
        (DatasetSpec(**DATASET, labels={"NE": "neutrophil"}), "`labels` has 'neutrophil' for"),  # type: ignore[dict-item]
        (DatasetSpec(**DATASET, labels=["NE"]), "`labels` is ['NE']; it maps each task"),  # type: ignore[arg-type]
        (DatasetSpec(**DATASET, prepare=1), "`prepare` is 1, and no function."),  # type: ignore[arg-type]
    ],
)
def test_the_first_field_of_another_form_is_named(spec: Spec, sentence: str) -> None:
    assert misdeclared(spec).startswith(sentence)
    assert bool(misdeclared(spec)) == bool(sentence)
    assert len(misdeclared(spec)) < 160


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (("a.png", "NE"), "`samples` yields a tuple, not a Sample."),
        (Sample("a.png", 3), "The label 3 of 'a.png' is no text."),  # type: ignore[arg-type]
        (Sample("a.png", "NE", 7), "The photograph 7 of 'a.png' is no text."),  # type: ignore[arg-type]
        (Sample("a.png", "NE", split="valid"), "The split 'valid' of 'a.png' is none"),  # type: ignore[arg-type]
    ],
)
def test_a_sample_of_another_form_is_refused_before_it_is_read(
    found: Any, sentence: str, tmp_path: Path
) -> None:
    spec = DatasetSpec(name="data", samples=lambda root: [found])
    with pytest.raises(WbczooError, match=r"The data set 'data' cannot be listed: ") as caught:
        read_rows(spec, tmp_path)
    assert sentence in str(caught.value)


def test_a_backbone_that_cannot_be_composed_is_named_with_the_reason(tmp_path: Path) -> None:
    for name, (body, more) in BODIES.items():
        install(tmp_path, name, name, BUILT.format(body=body, name=name, more=more))
    script = (
        "import json, sys, wbczoo\n"
        "from wbczoo.errors import WbczooError\n"
        "told = {}\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n"
        "        wbczoo.create_model(name).open_for_training('last-block')\n"
        "    except WbczooError as error:\n"
        "        told[name] = str(error)\n"
        "print(json.dumps(told))"
    )
    told = json.loads(run(tmp_path, "-c", script, *BODIES))
    assert (
        "'nothing' cannot be used: its `build` returns a NoneType, not a torch" in told["nothing"]
    )
    assert "'narrow' cannot be used: its `num_features` is None" in told["narrow"]
    assert (
        "'letters' has no last block that could be opened: its `last_block` is 'weight'"
        in (told["letters"])
    )
    assert told["raises"].endswith("could not be built: KeyError: 'tanh'. --debug shows where.")
    assert told["crops"].startswith("There is no crop 'cel'")


def test_a_data_set_is_asked_to_draw_itself_by_what_it_takes_alone(tmp_path: Path) -> None:
    install(tmp_path, "drawn", "drawn", DRAWS, group="wbczoo.datasets")
    script = (
        "import wbczoo\n"
        "try:\n"
        "    wbczoo.prepare_data('nowhere', dataset='drawn', cells_per_field=3)\n"
        "except wbczoo.errors.UsageError as error:\n"
        "    print(error)"
    )
    assert run(tmp_path, "-c", script).strip() == (
        "The data set 'drawn' is not made by --cells-per-field; it takes --photographs."
    )
