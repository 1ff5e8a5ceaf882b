"""The registry shows every part and what is wrong with it, and no stranger can harm the others."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from fake_plugins import SPEC, install, part, run

from wbczoo import registry
from wbczoo.errors import UsageError
from wbczoo.machine import how_to_install
from wbczoo.registry.entry import blank
from wbczoo.specs import BackboneSpec

Row = dict[str, str]
Ask = Callable[..., list[Any]]

BACKBONES = [
    "convnext_atto", "efficientnet_lite0", "googlenet", "mobilenetv2", "mobilenetv3_small",
    "resnet18", "squeezenet1_1", "vgg16", "none", "timm/*", "torchvision/*",
]  # fmt: skip

NOISY = """
import os, sys
print("printed")
os.write(1, b"written below Python\\n")
print("held back", file=sys.__stdout__)
os.system("echo said by a child")
"""
FAMILY = """
import pathlib
from collections.abc import Mapping

class Family(Mapping):
    def __getitem__(self, name):
        if name == "angry":
            raise RuntimeError("not today")
        return {
            "tiny": BackboneSpec(name="fam/tiny", build=build),
            "branch": SequenceSpec(name="fam/branch", build=build),
            "hungry": BackboneSpec(name="fam/hungry", build=build, requires=("nobody_has_this",)),
        }[name]

    def __iter__(self):
        pathlib.Path(__file__).with_name("enumerated").touch()
        return iter(("tiny", "branch", "hungry"))

    def __len__(self):
        return 3

PART = Family()
"""


# Distribution -> its entry point's name, and its module's code.
STRANGERS: dict[str, tuple[str, str]] = {
    "good": ("net", part("net")),
    "prints": ("noisy", part("noisy", before=NOISY)),
    "family": ("fam", SPEC + FAMILY),
    "import-error": ("import_error", "import nobody_has_this"),
    "exits": ("exits", "raise SystemExit(0)"),
    "leaves": ("leaves", "import os; os._exit(0)"),
    "dies": ("dies", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"),
    "interrupts": ("interrupts", "raise KeyboardInterrupt"),
    "raises": ("raises", "raise ValueError('two\\nlines and \\udcff')"),
    "no-part": ("no_part", "OTHER = 1"),
    "wrong-type": ("wrong_type", "PART = 3"),
    "wrong-kind": ("wrong_kind", f"{SPEC}PART = SequenceSpec(name='wrong_kind', build=build)"),
    "lies": ("lies", part("another")),
    "future": ("future", part("future", "contract=2")),
    "needs": ("needs", part("needs", "requires=('json', 'nobody_has_this')")),
    "needs-below": ("needs_below", part("needs_below", "requires=('torch.nobody_has_this',)")),
    "needs-nonsense": ("needs_nonsense", part("needs_nonsense", "requires=(3,)")),
    "misdeclares": ("misdeclares", part("misdeclares", "options=['width']")),
    "usurper": ("mobilenetv2", part("mobilenetv2")),
    "usurper-of-a-family": ("timm", SPEC + FAMILY),
    "part-named-as-a-family": ("torchvision", part("torchvision")),
    "twin-one": ("twin", part("twin")),
    "Twin.Two": ("twin", part("twin")),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed strangers, one for each way to go wrong."""
    folder = tmp_path_factory.mktemp("site")
    for distribution, (name, code) in STRANGERS.items():
        install(folder, distribution, name, code)
    return folder


@pytest.fixture(scope="module")
def listed(site: Path) -> dict[str, Row]:
    """Distribution (a stranger's) or name (a built-in part's) -> its row in `list --json`."""
    document = json.loads(run(site, "-m", "wbczoo", "list", "--json"))
    rows = document["backbones"]
    assert [row["name"] for row in rows[: len(BACKBONES)]] == BACKBONES
    assert set(document) >= {"backbones", "sequences", "datasets"}
    return {
        row["name"] if row["distribution"] == "wbczoo" else row["distribution"]: row for row in rows
    }


@pytest.fixture(scope="module")
def ask(site: Path, listed: dict[str, Row]) -> Ask:
    """Find names in a process of their own: [name, distribution, spec's name], or the error."""
    script = (
        "import json, sys\n"
        "from wbczoo import registry\n"
        "from wbczoo.errors import UsageError\n"
        "found = []\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n"
        "        entry = registry.backbones.find(name)\n"
        "        found.append([entry.name, entry.distribution, entry.spec.name])\n"
        "    except UsageError as error:\n"
        "        found.append(str(error))\n"
        "print(json.dumps([found, sorted({'torch', 'timm', 'numpy'} & set(sys.modules))]))"
    )

    def find(*names: str) -> list[Any]:
        found, imported = json.loads(run(site, "-c", script, *names))
        assert imported == []
        return list(found)

    return find


def test_the_built_in_parts_are_listed_in_order_and_all_usable() -> None:
    assert [entry.name for entry in registry.backbones.entries()] == BACKBONES
    names = [entry.name for entry in registry.sequences.entries()]
    assert names == ["bilstm", "bilstm_features", "gru", "nucleus", "none"]
    names = [entry.name for entry in registry.datasets.entries()]
    assert names == ["bccd", "bionet", "folder", "lmu_aml", "pbc", "raabin", "synthetic"]
    for parts in registry.ALL.values():
        for entry in parts.entries():
            kind = "family" if entry.name.endswith("/*") else "part"
            assert (entry.status, entry.reason, entry.kind) == ("ok", "", kind)
            assert (entry.distribution, bool(entry.version)) == ("wbczoo", True)


def test_a_member_of_a_family_is_a_part_of_its_own() -> None:
    entry = registry.backbones.find("timm/resnet50")
    assert (entry.name, entry.kind, entry.status) == ("timm/resnet50", "part", "ok")
    assert isinstance(entry.spec, BackboneSpec)
    assert entry.spec.name == "timm/resnet50"
    assert registry.backbones.find("wbczoo:timm/resnet50").row() == entry.row()


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("mobilenet2", "mobilenetv2"),
        ("ResNet18", "resnet18"),
        ("tim/resnet50", r"timm/\*"),
        ("wbczoo:resnet81", "resnet18"),
        ("no-such-distribution:mobilenetv2", "mobilenetv2"),
    ],
)
def test_an_unknown_name_gives_the_nearest(name: str, nearest: str) -> None:
    sentence = rf"no backbone '{name}'\. Nearest: .*{nearest}.*wbczoo list"
    with pytest.raises(UsageError, match=sentence):
        registry.backbones.find(name)


def test_a_name_like_no_other_is_told_without_a_guess() -> None:
    with pytest.raises(UsageError, match=r"no data set 'qqqqqqqq'\. `wbczoo list`"):
        registry.datasets.find("qqqqqqqq")


def test_strangers_harm_no_built_in_part_and_no_output(listed: dict[str, Row]) -> None:
    for name in BACKBONES:
        assert (listed[name]["status"], listed[name]["reason"]) == ("ok", "")
    assert set(listed) == {*BACKBONES, *STRANGERS}


def test_strict_listing_tells_that_something_is_wrong(site: Path, listed: dict[str, Row]) -> None:
    run(site, "-m", "wbczoo", "list", "--strict", expect=3)


def test_good_strangers_are_ok(listed: dict[str, Row], ask: Ask) -> None:
    assert listed["good"] == {
        "name": "net",
        "kind": "part",
        "distribution": "good",
        "version": "1.5",
        "status": "ok",
        "reason": "",
    }
    assert listed["prints"]["status"] == "ok"
    assert ask("net", "noisy") == [["net", "good", "net"], ["noisy", "prints", "noisy"]]


@pytest.mark.parametrize(
    ("distribution", "reason"),
    [
        ("import-error", "import_error:PART did not load: ModuleNotFoundError: No module named"),
        ("exits", "exits:PART did not load: SystemExit: 0"),
        ("leaves", "leaves:PART ended the process that loaded it."),
        ("dies", "dies:PART ended the process that loaded it."),
        ("interrupts", "interrupts:PART did not load: KeyboardInterrupt: "),
        ("raises", "raises:PART did not load: ValueError: two lines and \\udcff"),
        ("no-part", "no_part:PART did not load: AttributeError"),
        ("wrong-type", "wrong_type:PART is a int, not a BackboneSpec."),
        ("wrong-kind", "wrong_kind:PART is a SequenceSpec, not a BackboneSpec."),
        ("lies", "Its entry point says 'lies', its spec 'another'."),
        ("future", "It was made for contract 2, and this wbczoo has 1: install a version of"),
        ("needs-nonsense", "needs_nonsense:PART did not load"),
        ("misdeclares", "misdeclares:PART: `options` is ['width']; it maps names to defaults"),
    ],
)
def test_a_broken_stranger_is_a_row_with_its_reason(
    distribution: str, reason: str, listed: dict[str, Row], ask: Ask
) -> None:
    row = listed[distribution]
    assert (row["name"], row["status"]) == (STRANGERS[distribution][0], "broken")
    assert row["reason"].startswith(reason)
    assert "\n" not in row["reason"]


def test_a_broken_stranger_cannot_be_chosen_by_any_name(ask: Ask) -> None:
    for sentence in ask("future", "future:future", "leaves:leaves"):
        assert "cannot be used: " in sentence


@pytest.mark.parametrize(
    ("distribution", "missing"),
    [("needs", "nobody_has_this"), ("needs-below", "torch.nobody_has_this")],
)
def test_a_stranger_without_its_framework_says_how_to_get_it(
    distribution: str, missing: str, listed: dict[str, Row], ask: Ask
) -> None:
    row = listed[distribution]
    assert row["status"] == "missing"
    assert row["reason"] == f"It needs {missing}: pip install {missing}."
    name = STRANGERS[distribution][0]
    for sentence in ask(name, f"{distribution}:{name}"):
        assert f"pip install {missing}" in sentence


def test_a_built_in_part_without_its_framework_says_how_to_get_it() -> None:
    script = (
        "import importlib.util, sys; there = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name == 'timm' else there(name)\n"
        "from wbczoo import registry\n"
        "entry = next(e for e in registry.backbones.entries() if e.name == 'mobilenetv2')\n"
        "print(entry.status, entry.reason)"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout
    assert told.strip() == f"missing It needs timm: {how_to_install('train')}."


def test_a_stranger_cannot_take_a_built_in_name(listed: dict[str, Row], ask: Ask) -> None:
    row = listed["usurper"]
    assert (row["name"], row["status"]) == ("mobilenetv2", "duplicate")
    assert row["reason"] == "wbczoo has this name too; select this one as usurper:mobilenetv2."
    assert ask("mobilenetv2", "wbczoo:mobilenetv2", "usurper:mobilenetv2") == [
        ["mobilenetv2", "wbczoo", "mobilenetv2"],
        ["mobilenetv2", "wbczoo", "mobilenetv2"],
        ["mobilenetv2", "usurper", "mobilenetv2"],
    ]


def test_a_stranger_cannot_take_a_built_in_family(listed: dict[str, Row], ask: Ask) -> None:
    assert listed["usurper-of-a-family"]["name"] == "timm/*"
    assert listed["usurper-of-a-family"]["status"] == "duplicate"
    assert ask("timm/tiny", "usurper-of-a-family:timm/tiny") == [
        ["timm/tiny", "wbczoo", "timm/tiny"],
        ["timm/tiny", "usurper-of-a-family", "fam/tiny"],
    ]


def test_a_strangers_part_cannot_take_a_built_in_familys_name(
    listed: dict[str, Row], ask: Ask
) -> None:
    row = listed["part-named-as-a-family"]
    assert (row["name"], row["kind"], row["status"]) == ("torchvision", "part", "duplicate")
    named = "part-named-as-a-family:torchvision"
    assert row["reason"] == f"wbczoo has this name too; select this one as {named}."
    refused, found = ask("torchvision", named)
    assert "cannot be used" in refused
    assert found == ["torchvision", "part-named-as-a-family", "torchvision"]


Claim = tuple[str, str, str]  # distribution, entry point, and what it is


@pytest.mark.parametrize(
    ("claims", "statuses"),
    [
        ([("a", "new", "part")], {"a": "ok"}),
        ([("a", "timm", "part")], {"a": "duplicate"}),
        ([("a", "resnet18", "family")], {"a": "duplicate"}),
        ([("a", "new", "part"), ("b", "new", "family")], {"a": "duplicate", "b": "duplicate"}),
        ([("a", "new", "part"), ("b", "newer", "family")], {"a": "ok", "b": "ok"}),
    ],
)
def test_a_part_and_a_family_of_one_name_are_doubled(
    claims: list[Claim], statuses: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As other processes told of these strangers: their names, and what they are."""
    group = "wbczoo.backbones"
    kinds = {distribution: (name, kind) for distribution, name, kind in claims}

    def told(point: EntryPoint, distribution: str, version: str) -> dict[str, str]:
        name, kind = kinds[distribution]
        return {"name": name + "/*" * (kind == "family"), "kind": kind, "status": "ok"}

    found = [blank(EntryPoint(name, "m:PART", group), dist, "1") for dist, name, _ in claims]
    monkeypatch.setattr(registry, "find_strangers", lambda _: found)
    monkeypatch.setattr(registry, "recall", told)
    rows = registry._load_group.__wrapped__(group, None)
    theirs = {row.distribution: row for row in rows if row.distribution != "wbczoo"}
    assert {name: row.status for name, row in theirs.items()} == statuses
    for name, row in theirs.items():
        assert row.kind == kinds[name][1]


def test_between_strangers_neither_wins(listed: dict[str, Row], ask: Ask) -> None:
    assert listed["twin-one"]["status"] == listed["Twin.Two"]["status"] == "duplicate"
    assert "select this one as twin-one:twin" in listed["twin-one"]["reason"]
    neither, one, two, folded = ask("twin", "twin-one:twin", "Twin.Two:twin", "twin_two:twin")
    assert "cannot be used" in neither
    assert "twin-one" in neither
    assert "Twin.Two" in neither
    assert one == ["twin", "twin-one", "twin"]
    assert two == folded == ["twin", "Twin.Two", "twin"]


def test_a_family_is_one_row_and_enumerated_only_when_asked(
    site: Path, listed: dict[str, Row], ask: Ask
) -> None:
    assert listed["family"]["name"] == "fam/*"
    assert (listed["family"]["kind"], listed["family"]["status"]) == ("family", "ok")
    assert ask("fam/tiny") == [["fam/tiny", "family", "fam/tiny"]]
    assert not (site / "enumerated").exists()
    assert ask("fam/teny") == ["The family fam/* has no member 'teny'. Nearest: fam/tiny."]
    assert (site / "enumerated").exists()


def test_a_bad_member_of_a_family_is_told_of(ask: Ask) -> None:
    branch, hungry, angry = ask("fam/branch", "fam/hungry", "fam/angry")
    assert "is a SequenceSpec, not a BackboneSpec" in branch
    assert "pip install nobody_has_this" in hungry
    assert angry == "The family fam/* cannot give 'angry': RuntimeError: not today"


def test_an_endless_import_is_cut_off_once(tmp_path: Path) -> None:
    count = "import pathlib; pathlib.Path(__file__).with_name('loads').open('a').write('x')\n"
    module = install(
        tmp_path, "endless", "endless", f"{count}import time\nwhile True: time.sleep(1)"
    )
    script = (
        "import json; from wbczoo import registry\n"
        "from wbczoo.registry import sandbox; sandbox.TIME_LIMIT = 2.0\n"
        "rows = [entry.row() for entry in registry.backbones.entries()]\n"
        "print(json.dumps([row for row in rows if row['distribution'] == 'endless']))"
    )
    first = json.loads(run(tmp_path, "-c", script))
    assert first[0]["status"] == "broken"
    assert "did not load within 2 seconds" in first[0]["reason"]
    assert json.loads(run(tmp_path, "-c", script)) == first  # the verdict was kept
    assert (tmp_path / "loads").read_text() == "x"
    module.write_text(part("endless"))  # until its author has mended it
    assert json.loads(run(tmp_path, "-c", script))[0]["status"] == "ok"
