"""What a command answers stands alone on stdout, whatever plugins and libraries print there."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import fake_plugins
import pytest
from commands import ROOT

# It prints when it is loaded, built and asked, by Python and below it, as C libraries do.
CHATTY = """
import os
from wbczoo.specs import BackboneSpec

def chat():
    print("by Python")
    os.write(1, b"below Python\\n")

chat()

def build(*, image_size, pretrained=False):
    import torch
    from torch import nn

    class Chatty(nn.Module):
        num_features = 4
        last_block = ("layer.",)

        def __init__(self):
            super().__init__()
            chat()
            self.layer = nn.Conv2d(3, 4, 8, 8)

        def forward(self, images):
            if not torch.compiler.is_compiling():
                chat()
            return self.layer(images)

    return Chatty()

PART = BackboneSpec(name="chatty", build=build)
"""

# It prints while it lists its files.
LOUD = """
from wbczoo.specs import DatasetSpec
from wbczoo_datasets.folder import FOLDER

def samples(root):
    print("by a data set")
    return FOLDER.samples(root)

PART = DatasetSpec(name="loud", samples=samples, labels=FOLDER.labels)
"""

SCRIPT = """
import json, sys
from wbczoo.cli import main
for arguments in json.loads(sys.argv[1]):
    code = main(arguments)
    assert code == 0, (arguments, code)
"""


def test_a_plugin_that_prints_spoils_no_answer(smears: Path, tmp_path: Path) -> None:
    site, run, out = tmp_path / "site", str(tmp_path / "run"), str(tmp_path / "export")
    fake_plugins.install(site, "wbczoo-chatty", "chatty", CHATTY)
    fake_plugins.install(site, "wbczoo-loud", "loud", LOUD, group="wbczoo.datasets")
    loud = [str(smears / "test"), "--dataset", "loud", "--json"]
    parts = ["--backbone", "chatty", "--image-size", "32", "--weights", "none"]
    data = [str(smears), "--dataset", "synthetic"]
    commands = [
        ["list", "--json"],
        ["build", *parts, "--json"],
        ["train", *data, *parts, "--epochs", "1", "--device", "cpu", "--out", run, "--json"],
        ["evaluate", run, *data, "--resamples", "100", "--device", "cpu", "--json"],
        ["export", run, "--out", out, "--json"],
        ["data", "show", *loud],
        ["data", "prepare", *loud, "--image-size", "32"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(commands)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(site)},
    )
    assert done.returncode == 0, done.stderr
    assert "by Python" in done.stderr
    assert "below Python" in done.stderr
    assert done.stderr.count("by a data set") == 2
    rest, documents = done.stdout, list[dict[str, Any]]()
    while rest.strip():
        document, end = json.JSONDecoder().raw_decode(rest)
        documents.append(document)
        rest = rest[end:].lstrip()
    assert [document["format"] for document in documents] == [1] * len(commands)


LEAVES = """
import sys
from wbczoo.specs import BackboneSpec, DatasetSpec

def leave(*args, **settings):
    sys.exit(0)

PART = {kind}Spec(name="leaves", {does}=leave{more})
"""


@pytest.mark.parametrize(
    ("kind", "does", "arguments", "what"),
    [
        ("Backbone", "build", ["build", "--backbone", "leaves"], "The part 'leaves' could not be"),
        ("Dataset", "samples", ["data", "show", ".", "--dataset", "leaves"], "The data set 'leave"),
    ],
)
def test_a_plugin_that_leaves_is_named_and_no_success(
    kind: str, does: str, arguments: list[str], what: str, tmp_path: Path
) -> None:
    code = LEAVES.format(kind=kind, does=does, more="" if kind == "Backbone" else ', unit="slide"')
    group = f"wbczoo.{kind.lower()}s"
    fake_plugins.install(tmp_path, "wbczoo-leaves", "leaves", code, group=group)
    done = subprocess.run(
        [sys.executable, "-m", "wbczoo", *arguments],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 1
    assert f"Error: {what}" in done.stderr
    assert "SystemExit: 0" in done.stderr


def test_help_and_results_stay_on_stdout_when_the_reader_leaves() -> None:
    command = f"{sys.executable} -m wbczoo"
    for arguments in ("--help", "train --help", "list --json"):
        done = subprocess.run(
            ["sh", "-c", f"{command} {arguments} | head -c 20"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert len(done.stdout) == 20
        assert done.stderr == ""


def test_a_reader_who_has_left_is_no_fault() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "wbczoo", "list", "--json"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_no_command_prints_results_past_the_stream_for_them() -> None:
    for path in (ROOT / "wbczoo" / "cli").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "click.echo":
                given = {keyword.arg for keyword in node.keywords}
                assert given & {"err", "file"}, f"{path.name}:{node.lineno} prints to sys.stdout"
