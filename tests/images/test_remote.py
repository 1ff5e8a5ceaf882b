"""Images behind URLs: the same rows, whatever the network does on the way."""

from __future__ import annotations

import io
import json
import re
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from commands import Completed
from tiny_archives import IMAGES, write_tar, write_zip
from tiny_images import picture

from wbczoo.errors import ImageRefused, UsageError, WbczooError
from wbczoo.images import urls
from wbczoo.images.walk import Images

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")


class Faulty(BaseHTTPRequestHandler):
    """Serves pictures by number, and a tar file.

    `flaky` fails twice, `cut` is never whole, `slow` waits once, `gone` is not there.
    """

    asked: ClassVar[Counter[str]] = Counter()
    archive = b""
    shard = b""

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        self.asked[name] += 1
        content = {"zip": self.archive, "tar": self.shard}.get(name.rpartition(".")[2], picture(1))
        if name.startswith("slow") and self.asked[name] == 1:
            time.sleep(0.5)
        if name.startswith("gone"):
            self.send_error(404)
        elif name.startswith("flaky") and self.asked[name] < 3:
            self.send_error(500)
        else:
            asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            self.send_response(206 if asked else 200)
            if asked:
                begin, end = int(asked[1]), min(int(asked[2]) + 1, len(content))
                self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(content)}")
                content = content[begin:end]
            self.send_header("Accept-Ranges", "bytes")
            lie = 99 if name.startswith("cut") else 0
            self.send_header("Content-Length", str(len(content) + lie))
            self.end_headers()
            if self.command == "GET":
                with suppress(ConnectionError):  # whoever asked has gone
                    self.wfile.write(content)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    monkeypatch.setattr(urls, "_PAUSE", 0)
    write_zip(tmp_path / "cells.zip")
    write_tar(tmp_path / "cells.tar")
    Faulty.archive, Faulty.asked = (tmp_path / "cells.zip").read_bytes(), Counter()
    Faulty.shard = (tmp_path / "cells.tar").read_bytes()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Faulty)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def bucket() -> Iterator[str]:
    """A place with two pictures, a hidden one, and a text."""
    system = fsspec.filesystem("memory")
    for name in ("b/2.png", "1.png", ".hidden.png", "notes.txt"):
        system.pipe(f"/bucket/{name}", picture(len(name)))
    yield "memory://bucket"
    system.rm("/bucket", recursive=True)


def test_a_place_a_pattern_and_a_file_are_found_and_read(bucket: str) -> None:
    found = Images([bucket])
    assert [str(each) for each in found] == ["memory:///bucket/1.png", "memory:///bucket/b/2.png"]
    assert found.total == 2
    assert found.passed_over == {".txt": 1}
    first, _ = found
    assert not isinstance(first, str)
    assert first.read() == picture(5)
    assert [str(each) for each in Images([f"{bucket}/*/*.png"])] == ["memory:///bucket/b/2.png"]
    assert [str(each) for each in Images([f"{bucket}/1.png"])] == [f"{bucket}/1.png"]


def test_rows_of_urls_are_those_of_files(
    host: str, model: Path, tmp_path: Path, wbczoo: Callable[..., Completed]
) -> None:
    (tmp_path / "1.png").write_bytes(picture(1))
    ask = ("--model", model, "--device", "cpu")
    local = json.loads(wbczoo("predict", tmp_path / "1.png", *ask).stdout)
    told = wbczoo("predict", f"{host}/1.png", f"{host}/flaky.png", *ask).stdout
    rows = [json.loads(line) for line in told.splitlines()]
    assert [row["path"] for row in rows] == [f"{host}/1.png", f"{host}/flaky.png"]
    assert all(row["tasks"] == local["tasks"] for row in rows)


def test_an_archive_behind_a_url_is_read_as_one_at_hand(host: str) -> None:
    url = f"zip::{host}/cells.zip"
    found = [*Images([url])]
    assert [str(each) for each in found] == [f"{url}/{name}" for name in sorted(IMAGES)]
    with zipfile.ZipFile(io.BytesIO(Faulty.archive)) as archive:
        for name, each in zip(sorted(IMAGES), found, strict=True):
            assert not isinstance(each, str)
            assert each.read() == archive.read(name)


def test_a_network_that_fails_stops_the_run_and_refuses_no_image(host: str) -> None:
    (found,) = Images([f"{host}/cut.png"])
    assert not isinstance(found, str)
    with pytest.raises(WbczooError, match=r"tried 4 times: .*--resume") as failure:
        found.read()
    assert not isinstance(failure.value, ImageRefused)
    with pytest.raises(WbczooError, match="tried 4 times"):
        [*Images([f"{host}/cut.tar"])]


def test_an_answer_that_takes_too_long_is_asked_for_again(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(urls, "_TIMEOUT", 0.2)
    (found,) = Images([f"{host}/slow.png"])
    assert not isinstance(found, str)
    assert found.read() == picture(1)
    assert Faulty.asked["slow.png"] == 2


def test_shards_of_webdataset_are_read_wherever_they_are(
    host: str, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sample's files have one name and several suffixes; what is no image is passed over."""
    samples = {
        f"{n}{suffix}": content
        for n in ("a/1", "a/2")
        for suffix, content in ((".png", picture(len(n))), (".cls", b"1"), (".json", b"{}"))
    }
    write_tar(tmp_path / "shard-0.tar", samples)
    system = fsspec.filesystem("memory")
    for number in (0, 1):
        system.pipe(f"/bucket/shard-{number}.tar", (tmp_path / "shard-0.tar").read_bytes())
    copies = tmp_path / "copies"
    copies.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(copies))
    found = Images([f"{bucket}/*"])
    assert found.total is None
    names = ["1.png", *(f"shard-{n}.tar/a/{cell}.png" for n in (0, 1) for cell in (1, 2))]
    members = [*found]
    assert [str(each) for each in members] == [f"memory:///bucket/{name}" for name in names]
    assert all(each.read() == picture(3) for each in members[1:] if not isinstance(each, str))
    assert found.passed_over == {".txt": 1, ".cls": 4, ".json": 4}
    assert len([*copies.iterdir()]) == 2
    del members
    assert not [*copies.iterdir()]
    assert len([*Images([f"{host}/flaky.tar"])]) == len(IMAGES)
    (gone,) = Images([f"{host}/gone.tar"])
    assert str(gone) == f"{host}/gone.tar"
    assert not isinstance(gone, str)
    with pytest.raises(ImageRefused, match="not there"):
        gone.read()
    assert [str(each) for each in Images([bucket])] == [
        "memory:///bucket/1.png",
        "memory:///bucket/b/2.png",
    ]  # as of a folder, whose archives stay closed


def test_what_is_not_there_is_told(host: str, bucket: str) -> None:
    (gone,) = Images([f"{host}/gone.png"])
    assert not isinstance(gone, str)
    with pytest.raises(ImageRefused, match="not there"):
        gone.read()
    for url in (f"{bucket}/nothing", f"{bucket}/*.tif"):
        with pytest.raises(UsageError, match="is not there"):
            Images([url])
    (found,) = Images([f"{bucket}/1.png"])
    fsspec.filesystem("memory").rm("/bucket/1.png")
    assert not isinstance(found, str)
    with pytest.raises(ImageRefused, match="not there"):
        found.read()


def test_a_password_is_kept_out_of_rows_and_a_missing_package_is_named() -> None:
    with pytest.raises(UsageError, match="would stand in every row") as refusal:
        Images(["zip::https://me:secret@host/a.zip"])
    assert "secret" not in str(refusal.value)
    with pytest.raises(WbczooError, match="nothing-such"):
        Images(["nothing-such://bucket/a.png"])
