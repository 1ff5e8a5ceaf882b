"""Each check of the conformance kit finds the plugin that breaks it, and nothing else in it."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from pathlib import Path

import pytest
from broken import BROKEN, GOOD

from wbczoo import testing
from wbczoo.registry import ALL
from wbczoo.specs import Spec
from wbczoo.testing import checks_of, parametrize_with_checks
from wbczoo.testing.conformance import run_check

CASES = [(check, spec, word) for check, found in BROKEN.items() for spec, word in found]
LOADED = "check_loads_quietly"

QUIET = """
from wbczoo.specs import BackboneSpec
def build(*, image_size, pretrained=False): ...
PART = BackboneSpec(name="part", licence="MIT", build=build, requires=("safetensors",))
"""


# An export and a process: a spec goes through them by day if it is theirs to find, or good.
SLOW = {"check_onnx", LOADED}


def results(spec: Spec, without: AbstractSet[str] = frozenset()) -> dict[str, tuple[str, str]]:
    """Check -> what came of it and why."""
    found = {}
    for check in checks_of(spec):
        if check.__name__ in without:
            continue
        row = run_check(spec, check.__name__, check)
        found[check.__name__] = row["result"], row["reason"]
    return found


def test_every_check_has_a_broken_plugin() -> None:
    public = {name for name in testing.__all__ if name.startswith("check_")}
    assert public == {*BROKEN, LOADED}
    assert public == {c.__name__ for spec in GOOD for c in checks_of(spec)}


@pytest.mark.parametrize("spec", GOOD, ids=lambda spec: spec.name)
def test_a_good_plugin_passes_every_check(spec: Spec) -> None:
    assert {found for found, _ in results(spec).values()} == {"passed"}, results(spec)


@pytest.mark.parametrize(
    "slow", [SLOW, pytest.param(set(), marks=pytest.mark.nightly)], ids=["quick", "every"]
)
@pytest.mark.parametrize(
    ("check", "spec", "word"), CASES, ids=[f"{c}-{word}" for c, _, word in CASES]
)
def test_a_broken_plugin_is_found_by_its_check_alone(
    check: str, spec: Spec, word: str, slow: set[str]
) -> None:
    found = results(spec, without=slow - {check})
    failed = {name: reason for name, (result, reason) in found.items() if result == "failed"}
    assert set(failed) == {check}, failed
    assert word in failed[check]
    not_run = {name for name, (result, _) in found.items() if result == "not run"}
    cannot_go_on = (
        "check_declaration", "check_builds", "check_batches", "check_samples",
        "check_probabilities",
    )  # fmt: skip
    assert not not_run or check in cannot_go_on, not_run


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("import torch", "imports torch"),
        ("import safetensors", "imports safetensors"),
        ("import socket; socket.socket().close()", "opens a socket"),
        ("print('welcome')", "prints 'welcome"),
        ("import os; os._exit(0)", "ended the process"),
    ],
)
def test_a_loud_module_is_found(
    line: str, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib

    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / f"loud_{abs(hash(line))}.py"
    module.write_text(QUIET)
    spec = importlib.import_module(module.stem).PART
    testing.check_loads_quietly(spec)
    module.write_text(f"{line}\n{QUIET}")  # what the other process meets
    with pytest.raises(testing.CheckFailed, match=word):
        testing.check_loads_quietly(spec)


@parametrize_with_checks([*GOOD[-2:]])
def test_the_decorator_gives_each_check_its_own_test(spec: Spec, check: testing.Check) -> None:
    check(spec)


def test_the_decorator_hands_over_the_data(tmp_path: Path, smears: Path) -> None:
    spec = ALL["datasets"].spec("bccd")
    marked = parametrize_with_checks([spec], data=smears)
    by_name = {parameter.id.rpartition("-")[2]: parameter.values[1] for parameter in marked.args[1]}
    with pytest.raises(testing.CheckFailed, match="samples"):
        by_name["check_samples"](spec)
    by_name["check_declaration"](spec)


def test_a_module_is_found_behind_a_partial_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib

    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "hidden_loud.py"
    wrapped = QUIET.replace("build=build", "build=functools.partial(build)")
    module.write_text(f"import functools\n{wrapped}")
    spec = importlib.import_module(module.stem).PART
    module.write_text(f"import functools, torch\n{wrapped}")
    with pytest.raises(testing.CheckFailed, match="imports torch"):
        testing.check_loads_quietly(spec)


def test_what_is_no_spec_is_told() -> None:
    with pytest.raises(TypeError, match="no spec"):
        checks_of("mobilenetv2")  # type: ignore[arg-type]


# One of each kind by day; tests/test_pairs.py exports the network and the branch.
PARTS = [
    ("backbones", "squeezenet1_1"),
    ("sequences", "gru"),
    ("datasets", "folder"),
]
NIGHTLY_PARTS = [
    *PARTS[:2],
    ("backbones", "mobilenetv2"),
    ("backbones", "timm/vit_tiny_patch16_224"),
    ("backbones", "torchvision/mnasnet0_5"),
    ("sequences", "bilstm"),
    ("sequences", "bilstm_features"),
    ("sequences", "nucleus"),
    ("datasets", "synthetic"),
]


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_a_built_in_part_of_each_kind_passes_the_kit(kind: str, name: str) -> None:
    found = results(ALL[kind].spec(name), without={"check_onnx"})
    assert "failed" not in {result for result, _ in found.values()}, found


@pytest.mark.nightly
@pytest.mark.parametrize(("kind", "name"), NIGHTLY_PARTS)
def test_built_in_parts_pass_the_kit(kind: str, name: str) -> None:
    found = results(ALL[kind].spec(name))
    assert "failed" not in {result for result, _ in found.values()}, found


def test_drawn_smears_pass_the_kit(smears: Path) -> None:
    spec = ALL["datasets"].spec("synthetic")
    for check in checks_of(spec):
        testing.bound(spec, check, smears)(spec)
