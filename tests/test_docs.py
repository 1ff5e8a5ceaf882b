"""The documentation is held to the program: pages, commands, options and links."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from commands import ROOT

from wbczoo.cli import VERBS, cli

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"^(?:\$ |.* -m )?wbczoo (.+)$", re.MULTILINE)
COPIED = re.compile(r"^ *(?:Example: )?wbczoo (.+)$", re.MULTILINE)
INLINE = re.compile(r"`(wbczoo )?([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s#]*)(#[^)\s]+)?\)")
OPTION = re.compile(r"--[a-z][a-z-]*")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def fenced_commands(text: str) -> list[str]:
    """The arguments of every command that stands in a code block, continuations joined."""
    blocks = "\n".join(FENCE.findall(text)).replace("\\\n", " ")
    return SHOWN.findall(blocks)


def find_command(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that the words name, and its own arguments."""
    command: click.Command = cli
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, f"there is no command {words[0]!r}"
        command, words = found, words[1:]
    return command, words


def parse(line: str, *, whole: bool) -> None:
    """Fail unless the line's commands, options and choices exist; nothing is run.

    Args:
        whole: a line to be copied, in which nothing that is required may be missing.
    """
    words = shlex.split(line, comments=True)
    ends = [words.index(sign) for sign in ("|", ">") if sign in words]
    command, rest = find_command(words[: min(ends, default=None)])
    try:
        given, strange, _ = command.make_parser(click.Context(command)).parse_args(list(rest))
    except click.ClickException as error:
        pytest.fail(f"wbczoo {line}: {error.format_message()}")
    assert not strange, f"wbczoo {line}: too many arguments, {strange}"
    for parameter in command.params:
        value = given.get(parameter.name or "")
        value = value if isinstance(value, str | list | tuple) else None
        if isinstance(parameter.type, click.Choice) and isinstance(value, str):
            assert value in parameter.type.choices, f"wbczoo {line}: {value} is no choice"
        if whole and parameter.required:
            assert value, f"wbczoo {line}: {parameter.name} is missing"


def all_commands() -> Iterator[click.Command]:
    """Every command, nested ones too."""
    waiting: list[click.Command] = [cli]
    while waiting:
        command = waiting.pop()
        yield command
        if isinstance(command, click.Group):
            context = click.Context(command)
            found = (command.get_command(context, name) for name in command.list_commands(context))
            waiting += [sub for sub in found if sub is not None]


def all_options() -> set[str]:
    """Every option of every command."""
    params = (each for command in all_commands() for each in command.params)
    return {"--help"}.union(*((*each.opts, *each.secondary_opts) for each in params))


def test_what_help_shows_can_be_copied() -> None:
    for command in all_commands():
        text = f"{command.help}\n{command.epilog}".replace("\\\n", " ")
        for line in COPIED.findall(text):
            parse(line, whole=True)


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_a_page_with_an_example(verb: str) -> None:
    text = (ROOT / "docs" / f"{verb}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# wbczoo {verb}\n")
    assert any(shlex.split(line)[0] == verb for line in fenced_commands(text))
    assert "## Exit codes" in text
    assert f"({verb}.md)" in (ROOT / "docs" / "README.md").read_text(encoding="utf-8")


@pages
def test_commands_and_options_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    known = all_options()
    for line in fenced_commands(text):
        parse(line, whole=True)
    for command, code in INLINE.findall(FENCE.sub("", text)):
        if command and not code.startswith("VERB"):
            parse(code, whole=False)
        elif code.startswith("--"):
            assert set(OPTION.findall(code)) <= known, f"`{code}` is an option of no command"


@pytest.mark.parametrize("tool", ["make_reference", "make_compatibility"])
def test_made_pages_are_what_the_code_and_the_rows_say(tool: str) -> None:
    sys.path.insert(0, str(ROOT / "tools"))
    made = importlib.import_module(tool)
    assert made.PAGE.read_text(encoding="utf-8") == made.make_page(), f"run tools/{tool}.py"


@pages
def test_links_lead_somewhere(page: Path) -> None:
    for path, anchor in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if "://" in path:
            continue
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name} links to {path}, which is not there"
        if anchor:
            titles = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}
            assert anchor[1:] in slugs, f"{page.name} links to {path}{anchor}, which is no heading"


def test_the_python_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    for code in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        exec(compile(code, "docs/python.md", "exec"), names)
    assert (tmp_path / "exports" / "a" / "model.onnx").is_file()
