"""An export on a hub is opened by its address wherever a model is taken, and kept by its commit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from model_hub import REPOSITORY, Hub, running_hub

ADDRESS = f"hf://{REPOSITORY}"


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory, small_export: Path) -> Iterator[Hub]:
    """A hub on this machine that holds an export."""
    with running_hub(tmp_path_factory.mktemp("home")) as hub:
        hub.hold(small_export)
        yield hub


# Commands one after another in a process, which must not have met torch by the end of any.
EACH = (
    "import json, sys; from wbczoo.cli import main\n"
    "for command in json.loads(sys.argv[1]):\n"
    "    code = main(command)\n"
    "    if code or 'torch' in sys.modules: sys.exit(f'{command}: {code}')\n"
)
IN_PYTHON = (
    "import sys, wbczoo; from wbczoo.serving.serve import Options, open_models\n"
    "print(wbczoo.load(sys.argv[1]).file.name)\n"
    "print(*open_models([sys.argv[1]], Options(device='cpu')))\n"
    "print(len(wbczoo.evaluate(sys.argv[1], sys.argv[2], dataset='synthetic').table()) > 0)\n"
    "assert 'torch' not in sys.modules\n"
    "wbczoo.export(sys.argv[1], sys.argv[3])\n"
)


def ask(
    hub: Hub, code: str, *arguments: object, cache: Path, expect: int = 0, **changed: str
) -> str:
    """What code prints, in a process with this hub for its hub."""
    settings = os.environ | {
        "HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(hub.home), "WBCZOO_CACHE": str(cache), **changed,
    }  # fmt: skip
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=settings)
    assert done.returncode == expect, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def fetched(hub: Hub) -> int:
    return len([each for each in hub.asked if "/resolve/" in each])


def test_every_verb_that_asks_a_model_takes_its_address(
    server: Hub, smears: Path, tmp_path: Path
) -> None:
    image = str(next((smears / "test").rglob("*.jpg")))
    commands = [
        ["predict", image, "--model", ADDRESS],
        ["differential", image, "--model", f"{ADDRESS}@main"],
        ["features", ADDRESS, image, "--layer", "fused", "--out", str(tmp_path / "f.npz")],
        ["verify", ADDRESS],
        ["evaluate", ADDRESS, str(smears), "--dataset", "synthetic", "--resamples", "10"],
    ]
    said = ask(server, EACH, json.dumps(commands), cache=tmp_path)
    assert said.count(f"{ADDRESS} is at commit {server.commit(REPOSITORY)}") == len(commands)
    once = fetched(server)
    assert once > 0
    said = ask(server, IN_PYTHON, ADDRESS, smears, tmp_path / "again", cache=tmp_path)
    assert "\nwhite-cells\n" in said, "callers of a server name it as its repository is called"
    assert fetched(server) == once
    assert (tmp_path / "again" / "model.onnx").read_bytes() == server.files[REPOSITORY][
        "model.onnx"
    ]


CODES = (
    "import sys; from wbczoo.cli import main\n"
    "print('codes', *(main(['verify', each]) for each in sys.argv[1:]))\n"
)


def test_who_has_no_hub_is_told_what_was_fetched_before(server: Hub, tmp_path: Path) -> None:
    def verify(*addresses: str, **changed: str) -> str:
        return ask(server, CODES, *addresses, cache=tmp_path / "a", **changed)

    said = verify("hf://lab/red-cells", "hf://white-cells", ADDRESS)
    assert "codes 1 2 0" in said
    assert "no such repository" in said
    assert "named OWNER/NAME" in said
    commit = server.commit(REPOSITORY)
    kept = f"{ADDRESS}@{commit}"
    server.down = True
    said = verify(ADDRESS)
    assert "HTTP 503" in said
    assert f"{kept} needs no hub" in said
    said = verify(ADDRESS, kept, "hf://lab/red-cells", HF_HUB_OFFLINE="1")
    assert "codes 1 0 1" in said
    assert said.count("HF_HUB_OFFLINE is set") == 2
    assert said.count("needs no hub") == 1
    server.down = False
    held = server.files[REPOSITORY]
    held["model.onnx"] = held["model.onnx"][:-1] + b"?"
    said = verify(ADDRESS)
    assert "codes 3" in said
    assert "does not hold" in said
    assert [path.name for path in (tmp_path / "a" / "hub").glob("*/*")] == [commit]
