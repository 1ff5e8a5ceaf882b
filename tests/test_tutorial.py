"""The tutorial is followed word by word: files written, commands run, what they print compared."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from commands import ROOT
from elsewhere import Elsewhere

PAGE = ROOT / "docs" / "tutorial.md"

LABEL = re.compile(r"(?:In )?`([^`]+)`:")
WRITTEN = ("csv", "python", "toml")
EXPECTED = re.compile(r"# exits (\d+)$")
SETTING = re.compile(r"[A-Z_]+=.*")
LEFT_OUT = "..."
# The reader's pip asks an index; the test's has all that it needs beside it.
OFFLINE = ("--no-index", "--no-deps", "--no-build-isolation")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        line: where its fence opens, from 1.
        before: the last line of text since the block before, or nothing.
        language: what the fence says behind its backticks.
    """

    line: int
    before: str
    language: str
    text: str


def read_blocks(text: str) -> list[Block]:
    """The blocks of a page in order."""
    blocks: list[Block] = []
    opened: Block | None = None
    before = ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```") and opened is None:
            opened = Block(number, before, line[3:], "")
        elif line == "```" and opened is not None:
            blocks.append(opened)
            opened, before = None, ""
        elif opened is not None:
            opened = replace(opened, text=f"{opened.text}{line}\n")
        elif line.strip():
            before = line
    assert opened is None, f"line {opened.line}: the block does not end"
    return blocks


class Reader:
    """Somebody who has only the page, an environment and an empty folder.

    Args:
        place: where everything is done.
        patch: sets what stands before a command, such as `WBCZOO_PLUGINS=...`.
    """

    def __init__(self, place: Elsewhere, patch: pytest.MonkeyPatch) -> None:
        self.place = place
        self.patch = patch
        self.printed: str | None = None  # by the command just before

    def follow(self, page: str) -> None:
        """Do what a page says, block by block; the first one that does not hold fails."""
        for block in read_blocks(page):
            try:
                self.do(block)
            except (Exception, pytest.fail.Exception) as error:
                pytest.fail(f"line {block.line}: {error}", pytrace=False)

    def do(self, block: Block) -> None:
        """Do what a block says; one that is no file, change, command or output fails."""
        label = LABEL.fullmatch(block.before)
        printed, self.printed = self.printed, None
        if block.language == "sh":
            for line in block.text.replace("\\\n", " ").splitlines():
                self.printed = self.run(line)
        elif label and block.language == "diff":
            change(self.place.folder / label[1], block.text)
        elif label and block.language in WRITTEN:
            write(self.place.folder / label[1], block.text)
        elif not label and block.language == "" and printed is not None:
            compare(block.text, printed)
        else:
            pytest.fail("it is neither a file, nor a change, nor commands, nor their output")

    def run(self, line: str) -> str:
        """Run a line as a shell would: what it prints, or its error where that is all."""
        expected = EXPECTED.search(line)
        expect = int(expected[1]) if expected else 0
        words = shlex.split(line, comments=True)
        with self.patch.context() as patch:
            while SETTING.fullmatch(words[0]):
                patch.setenv(*words.pop(0).split("=", 1))
            if words[0] == "pip":
                assert words[1] in ("install", "wheel"), line
                self.place.pip(words[1], *OFFLINE, *words[2:])
                return ""
            done = self.place.run(*words, expect=expect)
        return done.stdout or done.stderr


def write(path: Path, text: str) -> None:
    """Write a file that is not there yet."""
    assert not path.exists(), f"{path} is given twice"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def change(path: Path, text: str) -> None:
    """Put the `+` lines in the place of the `-` lines; the file has them once."""
    lines = text.splitlines(keepends=True)
    assert all(line[0] in "+- " for line in lines), text
    old = "".join(line[1:] for line in lines if line[0] != "+")
    new = "".join(line[1:] for line in lines if line[0] != "-")
    before = path.read_text(encoding="utf-8")
    assert before.count(old) == 1, f"{path} has these lines {before.count(old)} times:\n{old}"
    path.write_text(before.replace(old, new), encoding="utf-8")


def compare(shown: str, printed: str) -> None:
    """Fail unless the page shows what was printed, but for blanks, rules and what it leaves out."""
    pieces = [re.escape(piece.strip()) for piece in squeezed(shown).split(LEFT_OUT)]
    if not re.fullmatch(r".*?".join(pieces), squeezed(printed)):
        pytest.fail(f"the page shows\n\n{shown}\nand the command prints\n\n{printed}")


def squeezed(text: str) -> str:
    """On one line, single blanks between words; a table's rules depend on rows left out."""
    return " ".join(re.sub(r"-{3,}", "---", text).split())


@pytest.mark.nightly  # tests/test_strangers_wheel.py goes the same way with parts of its own
def test_every_block_of_the_tutorial_holds(
    elsewhere: Elsewhere,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.delenv("WBCZOO_PLUGINS", raising=False)
    Reader(replace(elsewhere, folder=tmp_path), monkeypatch).follow(PAGE.read_text("utf-8"))


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ("```python\nimport wbczoo\n```\n", "neither a file"),
        ("`a.txt`:\n```\n1\n```\n", "neither a file"),
        ("```\nan output of nothing\n```\n", "neither a file"),
        ("```sh\npython -c 'print(1)'\n```\n```\n2\n```\n", "the page shows"),
        ("```sh\npython -c 'print(12)'\n```\n```\n1\n```\n", "the page shows"),
        ("`a.csv`:\n```csv\na\n```\n`a.csv`:\n```csv\na\n```\n", "given twice"),
        ("`a.csv`:\n```csv\na\n```\nIn `a.csv`:\n```diff\n-b\n```\n", "0 times"),
        ("```sh\npython -c 'exit(3)'\n```\n", "exit"),
        ("```sh\npip download wbczoo\n```\n", "pip download"),
    ],
)
def test_a_block_that_does_not_hold_fails(
    page: str,
    told: str,
    elsewhere: Elsewhere,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = Reader(replace(elsewhere, folder=tmp_path), monkeypatch)
    with pytest.raises(pytest.fail.Exception, match=told):
        reader.follow(page)


def test_what_the_page_leaves_out_may_vary() -> None:
    compare("a  ---\n...\nc in ... s\n", "a -------\nb\nb\nc in 1.2 s\n")
    with pytest.raises(pytest.fail.Exception):
        compare("a\n...\nc\n", "a\nb\n")
