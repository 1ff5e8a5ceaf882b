"""A model hub on this machine: the part of Hugging Face's protocol that a push and a pull need."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from commands import Completed

REPOSITORY = "lab/white-cells"
# What is asked of the command, in a process that must not have met torch by its end.
SCRIPT = (
    "import sys; from wbczoo.cli import main; code = main(sys.argv[1:]);"
    "sys.exit('imported torch' if 'torch' in sys.modules else code)"
)


class Hub:
    """What a hub holds, and what it was asked.

    Args:
        home: a folder for what huggingface_hub keeps of its own.

    Attributes:
        files: repository -> path -> content, as its main branch has them.
        private: the repositories that want a token.
        commits: repository -> the commits that were made, oldest first.
        asked: each request's method and path.
        cut: paths of which half is sent, after which the hub is down.
        by_branch: repositories whose files may be asked of a branch, as timm does.
        down: whether everything is answered with 503.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.commits: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.cut: set[str] = set()
        self.by_branch: set[str] = set()
        self.down = False
        self.large: dict[str, bytes] = {}
        self.address = ""

    def commit(self, repository: str) -> str:
        """The hash that names what a repository holds now."""
        held = sorted(self.files[repository].items())
        return hashlib.sha1(repr(held).encode()).hexdigest()

    def hold(self, export: Path) -> dict[str, bytes]:
        """Have the repository with an export's files, as if it had been pushed."""
        self.files[REPOSITORY] = {path.name: path.read_bytes() for path in export.iterdir()}
        return self.files[REPOSITORY]

    def run(
        self, *arguments: object, token: str | None = "writer", expect: int = 0, **changed: str
    ) -> Completed:
        """wbczoo in a process of its own, with this hub for its hub."""
        settings = os.environ | {
            "HF_ENDPOINT": self.address, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(self.home),
        }  # fmt: skip
        settings.pop("HF_TOKEN", None)
        settings |= ({"HF_TOKEN": token} if token else {}) | changed
        command = [sys.executable, "-c", SCRIPT, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=settings)
        assert done.returncode == expect, f"{command}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        assert "writer" not in done.stdout + done.stderr, "the token was printed"
        return done


class Answers(BaseHTTPRequestHandler):
    """What the hub answers to one request."""

    hub: Hub

    def do_GET(self) -> None:
        self.hub.asked.append(f"GET {self.path}")
        if self.hub.down:
            self._refuse(503)
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", self.path):
            self._about(*found.groups())
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path):
            self._file(*found.groups())
        else:
            self._refuse(404)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        content = self._body()
        assert hashlib.sha256(content).hexdigest() == self.path.removeprefix("/large/")
        self.hub.large[self.path.removeprefix("/large/")] = content
        self._json({})

    def do_POST(self) -> None:
        self.hub.asked.append(f"POST {self.path}")
        body = self._body()
        if self.path == "/api/validate-yaml":  # asked before anything is made
            _, head, _ = json.loads(body)["content"].split("---\n", 2)
            assert yaml.safe_load(head)["license"] == "other"
            self._json({"errors": [], "warnings": []})
        elif self._token() != "writer":
            self._refuse(401 if self._token() is None else 403)
        elif self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            self.hub.files[name] = {".gitattributes": b""}
            if asked.get("visibility") == "private":
                self.hub.private.add(name)
            self._json({"url": f"{self.hub.address}/{name}"})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", self.path):
            self._json({"files": [
                {"path": each["path"], "shouldIgnore": False,
                 "uploadMode": "lfs" if each["path"].endswith((".onnx", ".npz")) else "regular"}
                for each in json.loads(body)["files"]
            ]})  # fmt: skip
        elif self.path.endswith(".git/info/lfs/objects/batch"):
            self._json({"objects": [
                {**each, "actions": {"upload": {"href": f"{self.hub.address}/large/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]})  # fmt: skip
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", self.path):
            held = self.hub.files[found[1]]
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "lfsFile":
                    held[value["path"]] = self.hub.large[value["oid"]]
                elif line["key"] == "file":
                    held[value["path"]] = base64.b64decode(value["content"])
            commit = self.hub.commit(found[1])
            self.hub.commits.setdefault(found[1], []).append(commit)
            self._json(
                {"commitUrl": f"{self.hub.address}/{found[1]}/commit/{commit}", "commitOid": commit}
            )
        else:
            self._refuse(404)

    def _about(self, repository: str, revision: str | None) -> None:
        if repository not in self.hub.files or not self._may_read(repository):
            self._refuse(404 if self._token() else 401, "RepoNotFound")
        elif revision not in (None, "main", self.hub.commit(repository)):
            self._refuse(404, "RevisionNotFound")
        else:
            self._json({
                "id": repository, "sha": self.hub.commit(repository),
                "private": repository in self.hub.private,
                "siblings": [{"rfilename": name} for name in self.hub.files[repository]],
            })  # fmt: skip

    def _file(self, repository: str, revision: str, name: str) -> None:
        if repository not in self.hub.by_branch:
            assert revision == self.hub.commit(repository), "a file was asked of a branch"
        content = self.hub.files[repository].get(name)
        if not self._may_read(repository):
            self._refuse(401, "RepoNotFound")
        elif content is None:
            self._refuse(404, "EntryNotFound")
        else:
            self.send_response(200)
            self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", self.hub.commit(repository))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.hub.down = name in self.hub.cut
                self.wfile.write(content[: len(content) // 2] if self.hub.down else content)

    def _may_read(self, repository: str) -> bool:
        return repository not in self.hub.private or self._token() is not None

    def _token(self) -> str | None:
        bearer = self.headers.get("Authorization")
        return bearer.removeprefix("Bearer ") if bearer else None

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def _json(self, document: dict[str, Any]) -> None:
        content = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _refuse(self, status: int, code: str = "") -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running_hub(home: Path) -> Iterator[Hub]:
    """A hub that holds nothing yet."""
    hub = Hub(home)
    listening = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Answers,), {"hub": hub}))
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    hub.address = f"http://127.0.0.1:{listening.server_port}"
    yield hub
    listening.shutdown()
    listening.server_close()
