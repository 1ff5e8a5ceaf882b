"""A family is gone through architecture by architecture, and a run that was stopped goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from commands import ROOT
from fake_plugins import SPEC, install, run

from wbczoo import registry
from wbczoo.errors import UsageError, WbczooError
from wbczoo.testing import breadth

ROWS = ROOT / "docs" / "compatibility.jsonl"

# A family with four architectures: one works, one fails, one kills, one has none of the size.
FAMILY = f"""{SPEC}
import os
from collections.abc import Mapping

def tiny(*, image_size, pretrained=False):
    from torch import nn
    module = nn.Sequential(nn.Conv2d(3, 4, 32, 32), nn.GELU(), nn.Conv2d(4, 6, 1))
    module.num_features, module.last_block = 6, ("2.",)
    return module

def angry(*, image_size, pretrained=False):
    raise RuntimeError("not today")

def deadly(*, image_size, pretrained=False):
    os.kill(os.getpid(), 9)

BUILDS = {{"tiny": tiny, "deadly": deadly, "angry": angry}}

class Family(Mapping):
    def __getitem__(self, name):
        return BackboneSpec(name=f"fam/{{name}}", build=BUILDS[name], requires=("torch",))
    def __iter__(self): return iter(BUILDS)
    def __len__(self): return 3
    def smallest_of_each(self, size):
        assert size == (224, 224)
        for name in BUILDS:
            yield name.title(), name, ""
        yield "Huge", None, "none of its models takes 224 x 224 pixels"

PART = Family()
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    install(folder, "fam", "fam", FAMILY)
    return folder


def test_each_composition_is_a_row_whatever_becomes_of_it(site: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    command = ("-m", "wbczoo", "plugin", "check", "--family", "fam", "--smallest-of-each",
               "--out", str(out), "--json")  # fmt: skip
    document = json.loads(run(site, *command, expect=3))
    assert (document["tried"], document["passed"]) == (12, 4)
    rows = {(row["architecture"], row["sequence"]): row for row in document["rows"]}
    assert len(rows) == 13
    for branch in breadth.BRANCHES:
        good = rows["Tiny", branch]
        assert (good["status"], good["step"], good["reason"]) == ("passed", "", "")
        assert good["difference"] <= good["bound"]
        assert good["versions"]["torch"]
        angry = rows["Angry", branch]
        assert (angry["status"], angry["step"]) == ("failed", "build")
        assert "RuntimeError: not today" in angry["reason"]
        assert "SIGKILL" in rows["Deadly", branch]["reason"]
    assert rows["Tiny", "bilstm"]["parameters"] > rows["Tiny", "none"]["parameters"]
    assert rows["Huge", ""]["status"] == "left out"
    kept = [json.loads(line) for line in out.read_text().splitlines()]
    assert kept == document["rows"]

    # Again: nothing is tried once more, and a line that was cut off is.
    whole = out.read_text()
    lines = whole.splitlines(keepends=True)
    marked = [line.replace('"not today"', '"kept"') for line in lines]
    out.write_text("".join(marked[:-1]) + marked[-1][:20])
    again = json.loads(run(site, *command, expect=3))["rows"]
    assert [row["status"] for row in again] == [row["status"] for row in document["rows"]]
    assert out.read_text().splitlines()[:-1] == [line.strip() for line in marked[:-1]]


@pytest.mark.nightly  # the test above goes on behind a line that was cut off
def test_a_killed_run_goes_on(site: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    command = [sys.executable, "-m", "wbczoo", "plugin", "check", "--family", "fam",
               "--smallest-of-each", "--architecture", "Tiny", "--out", str(out)]  # fmt: skip
    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(site)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not out.is_file() or not out.read_text().endswith("\n"):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = out.read_text()
    run(site, *command[1:])
    assert out.read_text().startswith(before)
    assert len(out.read_text().splitlines()) == 4


def test_a_file_of_something_else_is_refused_and_kept(tmp_path: Path) -> None:
    out = tmp_path / "letter.txt"
    out.write_text("Dear reader,\n")
    members = [{"family": "f", "architecture": "a", "member": "m", "reason": ""}]
    with pytest.raises(WbczooError, match=r"Line 1 of .*letter\.txt is no row"):
        list(breadth.run(members, out))
    assert out.read_text() == "Dear reader,\n"
    for text in ("my only line", "one\nand two"):
        out.write_text(text)
        with pytest.raises(WbczooError, match="Line 1"):
            list(breadth.run([], out))
        assert out.read_text() == text


def test_a_family_that_cannot_tell_its_architectures_says_so(tmp_path: Path) -> None:
    plain = FAMILY.replace("smallest_of_each", "something_else")
    install(tmp_path, "fam", "fam", plain)
    script = "from wbczoo.testing import breadth; breadth.smallest_of_each('fam')"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "has no method `smallest_of_each`" in done.stderr
    with pytest.raises(UsageError, match="no backbone 'nonesuch'"):
        breadth.smallest_of_each("nonesuch")


def test_every_architecture_of_torchvision_has_a_smallest_member() -> None:
    found = {row["architecture"]: row["member"] for row in breadth.smallest_of_each("torchvision")}
    assert len(found) == 17
    assert found["squeezenet"] == "squeezenet1_1"
    assert all(found.values())


FAST = [("torchvision/alexnet", "bilstm_features"), ("timm/resnet10t", "none")]
NIGHTLY = [
    ("torchvision/mnasnet0_5", "bilstm_features"),
    ("torchvision/shufflenet_v2_x0_5", "gru"),
    ("timm/efficientvit_m0", "bilstm_features"),
    ("timm/vit_tiny_patch16_224", "bilstm"),
]
TRIED = [pytest.param(*pair, id="+".join(pair)) for pair in FAST] + [
    pytest.param(*pair, id="+".join(pair), marks=pytest.mark.nightly) for pair in NIGHTLY
]


@pytest.mark.parametrize(("backbone", "sequence"), TRIED)
def test_a_fast_part_of_the_compositions_passes(backbone: str, sequence: str) -> None:
    row = breadth.try_composition({"backbone": backbone, "sequence": sequence})
    assert (row["status"], row["step"], row["reason"]) == ("passed", "", "")


def test_the_rows_that_are_kept_cover_the_families_and_nearly_all_pass() -> None:
    rows = breadth.read_rows(ROWS)
    tried = [row for row in rows if row["status"] != "left out"]
    keys = [(row["backbone"], row["sequence"]) for row in tried]
    assert len(set(keys)) == len(keys)
    counts: dict[str, Any] = breadth.summarise(rows)
    assert counts["passed"] >= 0.95 * counts["tried"]
    architectures = {family: {r["architecture"] for r in tried if r["family"] == family}
                     for family in ("timm", "torchvision")}  # fmt: skip
    assert len(architectures["timm"]) > 60
    assert len(architectures["torchvision"]) == 17
    for row in tried:
        assert registry.backbones.find(row["backbone"]).status == "ok"
        assert row["status"] == "passed" or row["reason"]
