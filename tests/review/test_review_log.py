"""The log of a review: each way to change what was written is found, and a kill changes nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from wbczoo.errors import WbczooError
from wbczoo.review.log import HEAD, LOG, Log, check

LINES = 12

Change = Callable[[list[bytes]], list[bytes]]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    log = Log(folder)
    for number in range(LINES):
        log.append(
            [{"what": "decide", "by": "Ada", "image": "ab", "box": [number, 2, 30, 40],
              "from": None, "to": "monocyte", "at": f"2026-01-01T00:00:{number:02d}Z"}]
        )  # fmt: skip
    assert check(folder) == []
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "review"))


def edit(line: int, old: bytes, new: bytes) -> Change:
    """Another value in a line."""

    def change(lines: list[bytes]) -> list[bytes]:
        assert old in lines[line - 1]
        return [*lines[: line - 1], lines[line - 1].replace(old, new), *lines[line:]]

    return change


def chained(lines: list[bytes], first: int) -> list[bytes]:
    """The lines with all hashes from one on made to fit, as whoever can compute might."""
    made = lines[:first]
    for number, line in enumerate(lines[first:], first + 1):
        before = hashlib.sha256(made[-1]).hexdigest() if made else "0" * 64
        entry = {**json.loads(line), "n": number, "before": before}
        made.append(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
    return made


def forge(lines: list[bytes]) -> list[bytes]:
    """One more line, which fits the last."""
    return chained([*lines, lines[-1]], len(lines))


# What is done to the lines, and the line that is named for it.
TAMPERING: dict[str, tuple[Change, int]] = {
    "a class changed": (edit(5, b"monocyte", b"basophil"), 5),
    "a name changed": (edit(5, b"Ada", b"Bea"), 5),
    "a time changed": (edit(7, b"00:00:06", b"00:00:59"), 7),
    "a box changed": (edit(4, b"[3,", b"[9,"), 4),
    "a photograph changed": (edit(4, b'"ab"', b'"cd"'), 4),
    "a blank added": (edit(3, b'"by":', b'"by": '), 3),
    "a field added": (edit(3, b'"by":', b'"old":1,"by":'), 3),
    "fields in another order": (
        edit(6, b'"what":"decide","by":"Ada"', b'"by":"Ada","what":"decide"'), 6),
    "an escape written out": (edit(6, b"decide", b"\\u0064ecide"), 6),
    "a number changed": (edit(8, b'"n":8', b'"n":80'), 8),
    "a hash changed": (lambda lines: [*lines[:8], lines[8].replace(lines[8][-10:-3], b"0000000"),
                                      *lines[9:]], 8),
    "the first line taken away": (lambda lines: lines[1:], 1),
    "a middle line taken away": (lambda lines: lines[:5] + lines[6:], 6),
    "the last line taken away": (lambda lines: lines[:-1], 12),
    "the last five taken away": (lambda lines: lines[:-5], 8),
    "all lines taken away": (lambda lines: [], 1),
    "half of the last line": (lambda lines: [*lines[:-1], lines[-1][:20]], 12),
    "two lines exchanged": (lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]], 4),
    "a line twice": (lambda lines: [*lines[:4], lines[3], *lines[4:]], 5),
    "an empty line": (lambda lines: [*lines[:4], b"\n", *lines[4:]], 5),
    "a line of another kind": (lambda lines: [*lines[:4], b"[]\n", *lines[4:]], 5),
    "ends as Windows has them": (lambda lines: [line[:-1] + b"\r\n" for line in lines], 1),
    "two lines made one": (lambda lines: [*lines[:3], lines[3][:-1], *lines[4:]], 4),
    "zeros": (lambda lines: [*lines[:3], b"\0" * 40 + b"\n", *lines[4:]], 4),
    "a line added at the end": (forge, 13),
    "the last line changed": (edit(12, b"monocyte", b"basophil"), 12),
    "changed, and hashes made to fit": (
        lambda lines: chained(edit(5, b"monocyte", b"basophil")(lines), 4), 12),
    "written anew from the first line": (
        lambda lines: chained(edit(1, b"Ada", b"Bea")(lines), 0), 12),
    "taken away, and hashes made to fit": (lambda lines: chained(lines[:4] + lines[5:], 4), 12),
}  # fmt: skip


@pytest.mark.parametrize("kind", TAMPERING)
def test_a_changed_log_is_found_and_its_line_named(folder: Path, kind: str) -> None:
    change, line = TAMPERING[kind]
    changed = b"".join(change((folder / LOG).read_bytes().splitlines(keepends=True)))
    (folder / LOG).write_bytes(changed)
    assert line in [fault.line for fault in check(folder)]
    with pytest.raises(WbczooError, match="not as it was written"):
        Log(folder)
    assert (folder / LOG).read_bytes() == changed


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"format": 1, "lines": 4}'])
def test_a_head_that_tells_nothing_is_a_fault(folder: Path, content: bytes | None) -> None:
    (folder / HEAD).unlink()
    if content is not None:
        (folder / HEAD).write_bytes(content)
    assert check(folder)


def test_half_a_line_that_a_kill_left_goes_and_the_rest_stays(folder: Path) -> None:
    before = (folder / LOG).read_bytes()
    (folder / LOG).write_bytes(before + b'{"n":13,"what":"dec')
    assert check(folder) == []
    log = Log(folder)
    assert len(log.entries) == LINES
    log.append([{"what": "note"}])
    assert check(folder) == []
    assert (folder / LOG).read_bytes().startswith(before)


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_a_kill_keeps_what_was_to_be_written_together_whole_or_not(folder: Path, kept: int) -> None:
    head = (folder / HEAD).read_text()
    log = Log(folder)
    log.append([{"what": "decide", "step": 9, "to": str(n)} for n in range(3)])
    lines = (folder / LOG).read_bytes().splitlines(keepends=True)
    said, after = json.loads(head), json.loads((folder / HEAD).read_text())
    coming = {"lines": after["lines"], "sha256": after["sha256"]}
    (folder / HEAD).write_text(json.dumps({**said, "coming": coming}))
    (folder / LOG).write_bytes(b"".join(lines[: LINES + kept]))
    assert check(folder) == []
    log = Log(folder)
    assert len(log.entries) == (LINES + 3 * (kept == 3))
    log.append([{"what": "note"}])
    assert check(folder) == []
