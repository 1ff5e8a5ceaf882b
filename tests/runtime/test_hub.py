"""Weights from the hub, asked of a server on this machine that answers as the hub does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from safetensors.torch import load_file

MODEL = "/timm/mobilenetv2_100.ra_in1k/resolve/main/model.safetensors"
COMMIT = "0" * 40


@pytest.fixture
def hub(shared: Path) -> Iterator[str]:
    """The address of a hub that has one file: the real MobileNet-v2."""
    content = (shared / "weights" / "mobilenetv2.safetensors").read_bytes()

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, with_body: bool) -> None:
            if self.path != MODEL:
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("ETag", '"the-one-version"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if with_body:
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def _build(
    out: Path, endpoint: str, home: Path, *backbone: str
) -> subprocess.CompletedProcess[str]:
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0",
                "HF_HUB_DISABLE_XET": "1"}  # fmt: skip
    command = [sys.executable, "-m", "wbczoo", "build", "--weights", "imagenet", "--json",
               "--out", str(out), "--backbone", *backbone]  # fmt: skip
    return subprocess.run(
        command, env=os.environ | settings, capture_output=True, text=True, check=False
    )


def test_imagenet_weights_come_from_the_hub_and_then_from_its_cache(
    hub: str, shared: Path, tmp_path: Path
) -> None:
    done = _build(tmp_path / "a", hub, tmp_path / "home", "mobilenetv2")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["weights"]["source"] == "hub"
    found = load_file(tmp_path / "a" / "model.safetensors")
    wanted = load_file(shared / "weights" / "mobilenetv2.safetensors")
    assert found["backbone.conv_stem.weight"].equal(wanted["conv_stem.weight"].float())
    # A host without an address: what was fetched before is still there.
    again = _build(tmp_path / "b", "http://no.such.host.invalid", tmp_path / "home", "mobilenetv2")
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize(
    "backbone", ["mobilenetv2", pytest.param("googlenet", marks=pytest.mark.nightly)]
)
def test_offline_the_error_names_the_file_and_the_ways_out(backbone: str, tmp_path: Path) -> None:
    done = _build(tmp_path / "a", "http://no.such.host.invalid", tmp_path, backbone)
    if done.returncode == 0:
        pytest.skip("this machine has the weights, or a way to them")
    assert done.returncode == 1
    for word in (f"{backbone}.safetensors", "WBCZOO_WEIGHTS", "--weights FILE"):
        assert word in done.stderr
    assert "Traceback" not in done.stderr
