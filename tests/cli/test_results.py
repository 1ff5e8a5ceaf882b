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
    parts = ["--backbone", "chatty", "--image-size", "32", "--weights", "none"]
    data = [str(smears), "--dataset", "synthetic"]
    commands = [
        ["list", "--json"],
        ["build", *parts, "--json"],
        ["train", *data, *parts, "--epochs", "1", "--device", "cpu", "--out", run, "--json"],
        ["evaluate", run, *data, "--resamples", "100", "--device", "cpu", "--json"],
        ["export", run, "--out", out, "--json"],
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
    rest, documents = done.stdout, list[dict[str, Any]]()
    while rest.strip():
        document, end = json.JSONDecoder().raw_decode(rest)
        documents.append(document)
        rest = rest[end:].lstrip()
    assert [document["format"] for document in documents] == [1] * len(commands)


def test_help_and_results_stay_on_stdout_when_the_reader_leaves() -> None:
    command = f"{sys.executable} -m wbczoo"
    for arguments in ("--help", "train --help", "list --json"):
        done = subprocess.run(
            ["sh", "-c", f"{command} {arguments} | head -c 20"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert len(done.stdout) == 20
        assert done.stderr == ""


def test_no_command_prints_results_past_the_stream_for_them() -> None:
    for path in (ROOT / "wbczoo" / "cli").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "click.echo":
                given = {keyword.arg for keyword in node.keywords}
                assert given & {"err", "file"}, f"{path.name}:{node.lineno} prints to sys.stdout"
