"""What strangers may do to a listing: nothing. It answers, names the culprit, and exits 0."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fake_plugins import SPEC, install, part, run

from wbczoo.specs import CONTRACT

Row = dict[str, str]

COUNT = "import pathlib; pathlib.Path(__file__).with_suffix('.loads').open('a').write('x')\n"
NAMELESS = f"""{SPEC}
class Odd(BackboneSpec):
    def __getattribute__(self, name):
        if name == "contract":
            raise RuntimeError("ask nobody")
        return super().__getattribute__(name)

PART = Odd(name="odd", build=build)
"""
DEAF = f"""{SPEC}
import time
class Deaf(BackboneSpec):
    @property
    def __class__(self):
        os.write(1, b"[]")
        raise SystemExit(0)

import os
PART = Deaf(name="deaf", build=build)
"""
SULKING_FAMILY = f"""{SPEC}
from collections.abc import Mapping
class Family(Mapping):
    def __getitem__(self, name): raise KeyError(name)
    def __iter__(self): raise RuntimeError("the server is away")
    def __len__(self): raise RuntimeError("the server is away")
PART = Family()
"""
RAISING_FAMILY = SULKING_FAMILY.replace(
    "def __len__", "requires = property(lambda self: 1 / 0)\n    def __len__"
)
AT_EXIT = "import atexit, sys; atexit.register(lambda: print('goodbye')); "
THREAD = "import threading; threading.Thread(target=threading.Event().wait).start(); "
VANDAL = """
import builtins, json, sys, wbczoo.specs
json.dumps = lambda *a, **k: "mine"
sys.modules["wbczoo.registry"] = None
wbczoo.specs.BackboneSpec.__init__ = None
builtins.print = None
sys.path.clear()
"""
SECOND_TIME = f"""
import pathlib, time
mark = pathlib.Path(__file__).with_suffix(".mark")
if mark.exists():
    while True: time.sleep(1)
mark.touch()
{part("second_time")}"""

# Distribution -> entry point's name, code, and the status and words of its row.
HOSTILE: dict[str, tuple[str, str, str, str]] = {
    "spec-raises": ("odd", NAMELESS, "broken", "did not load: RuntimeError: ask nobody"),
    "spec-leaves": ("deaf", DEAF, "broken", "SystemExit"),
    "sulking-family": ("sulk", SULKING_FAMILY, "ok", ""),
    "raising-family": ("rais", RAISING_FAMILY, "broken", "ZeroDivisionError"),
    "speaks-at-exit": ("exits", AT_EXIT + part("exits"), "ok", ""),
    "stays": ("stays", THREAD + part("stays"), "ok", ""),
    "vandal": ("vandal", part("vandal") + VANDAL, "ok", ""),  # of its own process alone
    "second-time": ("second_time", SECOND_TIME, "ok", ""),
    "non-ascii": ("nеt", part("nеt"), "broken", "ASCII letters"),  # a Cyrillic letter
    "cyrillic-usurper": ("resnеt18", part("resnеt18"), "broken", "ASCII letters"),
    "over-long": ("n" * 300, part("n" * 300), "broken", "at most 64"),
    "terminal": ("n\x1b[2Jt", part("n"), "broken", "ASCII letters"),
    "screams": (
        "screams",
        "raise ValueError('\\x1b[31mred\\x07')",
        "broken",
        r"\u001b[31mred\u0007",
    ),
    "raises-unprintable": (
        "mute",
        "class E(Exception):\n    def __str__(self): raise E\nraise E",
        "broken",
        "no reason given",
    ),
    "recursive": ("deep", "def f(): f()\nf()", "broken", "RecursionError"),
    "future": ("future", part("future", f"contract={CONTRACT + 1}"), "broken", "contract 2"),
    "huge-licence": ("legal", part("legal", "licence='x' * 10**6"), "ok", ""),
    "odd-licence": ("surrogate", part("surrogate", r"licence='\ud800\x1b[2J'"), "ok", ""),
    "forger": (
        "forger",
        "import os\nfor fd in range(3, 12):\n    try: os.write(fd, b'[1]\\n')\n"
        "    except OSError: pass\n" + part("forger"),
        "broken",
        "",
    ),
    "leaves-a-child": (
        "escapes",
        "import os, time\nif os.fork() == 0:\n    os.setsid(); time.sleep(30)\nos._exit(0)",
        "broken",
        "ended the process",
    ),
    "timm-the-part": ("timm", part("timm"), "duplicate", "select this one as"),
    "no-module": ("ghost", "", "broken", "ModuleNotFoundError"),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where all of them are installed, with three whose metadata are damaged."""
    folder = tmp_path_factory.mktemp("hostile")
    for distribution, (name, code, _, _) in HOSTILE.items():
        install(folder, distribution, name, code)
    (folder / "no_module.py").unlink()
    install(folder, "damaged-text", "damaged", part("damaged"))
    damaged = folder / "damaged_text-1.5.dist-info" / "entry_points.txt"
    damaged.write_bytes(b"[wbczoo.backbones]\n\xff\xfe = x:PART\n")
    install(folder, "damaged-line", "damaged", part("damaged"))
    damaged = folder / "damaged_line-1.5.dist-info" / "entry_points.txt"
    damaged.write_text("[wbczoo.backbones]\nno equals sign\n")
    install(folder, "nameless", "nameless", part("nameless"))
    (folder / "nameless-1.5.dist-info" / "METADATA").unlink()
    install(folder, "impostor", "mobilenetv2", part("mobilenetv2"))
    about = folder / "impostor-1.5.dist-info" / "METADATA"
    about.write_text("Metadata-Version: 2.1\nName: wbczoo\nVersion: 9\n")
    return folder


@pytest.fixture(scope="module")
def listed(site: Path) -> dict[str, Row]:
    """Distribution -> its row, of those that are not wbczoo's own."""
    run(site, "-m", "wbczoo", "list")  # the table too, and the first of two times
    rows = json.loads(run(site, "-m", "wbczoo", "list", "--json"))["backbones"]
    home = [row for row in rows if row["distribution"] == "wbczoo"]
    assert {row["status"] for row in home} == {"ok"}
    assert [row["name"] for row in home].count("mobilenetv2") == 1
    return {row["distribution"]: row for row in rows if row["distribution"] != "wbczoo"}


@pytest.mark.parametrize("distribution", HOSTILE)
def test_the_culprit_is_named(distribution: str, listed: dict[str, Row]) -> None:
    name, _, status, words = HOSTILE[distribution]
    row = listed[distribution]
    assert row["status"] == status, row
    assert words in row["reason"]
    assert len(row["name"]) <= 64
    assert row["name"].isprintable()
    assert name == row["name"] or not name.isascii() or row["name"][:1] == name[:1]


def test_damaged_metadata_hide_nobody(listed: dict[str, Row]) -> None:
    for distribution in ("damaged-text", "damaged-line"):
        row = listed[distribution]
        assert row["status"] == "broken"
        assert "entry_points.txt cannot be read" in row["reason"]
    assert listed["?"]["status"] == "ok"  # the nameless
    assert set(listed) == {
        *HOSTILE, "damaged-text", "damaged-line", "?", "wbczoo (not this one)",
    }  # fmt: skip


def test_nobody_else_is_called_wbczoo(site: Path, listed: dict[str, Row]) -> None:
    row = listed["wbczoo (not this one)"]
    assert (row["name"], row["status"]) == ("mobilenetv2", "broken")
    assert "calls itself wbczoo" in row["reason"]
    script = (
        "from wbczoo.registry import backbones;"
        "print(backbones.find('wbczoo:mobilenetv2').spec.requires)"
    )
    assert "timm" in run(site, "-c", script)


def test_a_module_of_the_working_folder_is_not_imported(tmp_path: Path) -> None:
    site, here = tmp_path / "site", tmp_path / "here"
    install(site, "good", "net", part("net"))
    here.mkdir()
    (here / "json.py").write_text("raise SystemExit('imported from the working folder')")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "wbczoo", "list", "--json"],
        cwd=here, env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    rows = json.loads(done.stdout)["backbones"]
    assert {row["name"]: row["status"] for row in rows}["net"] == "ok"


def test_a_damaged_cache_is_asked_no_more(tmp_path: Path) -> None:
    site, cache = tmp_path / "site", tmp_path / "cache"
    install(site, "good", "net", part("net"))
    run(site, "-m", "wbczoo", "list", WBCZOO_CACHE=str(cache))
    (kept,) = (cache / "plugins").iterdir()
    for damage in ('{"format": 1, "entry": {"foo": 1}}', '{"format": 1, "entry": 3}', "{", ""):
        kept.write_text(damage)
        told = run(site, "-m", "wbczoo", "list", "--json", WBCZOO_CACHE=str(cache))
        rows = {row["name"]: row["status"] for row in json.loads(told)["backbones"]}
        assert rows["net"] == "ok"


def test_a_brokens_name_does_not_stand_before_a_built_in_part(tmp_path: Path) -> None:
    install(tmp_path, "usurper", "none_such", "raise ValueError", group="wbczoo.baselines")
    install(tmp_path, "broken", "majority", "raise ValueError", group="wbczoo.baselines")
    told = run(tmp_path, "-m", "wbczoo", "plugin", "check", "majority", "--json")
    assert json.loads(told)["passed"]


def test_a_terminal_of_another_encoding_gets_escapes(tmp_path: Path) -> None:
    install(tmp_path, "kanji", "kanji", part("kanji", "licence='許諾'"))
    for extra in ((), ("--json",)):
        told = run(tmp_path, "-m", "wbczoo", "plugin", "list", *extra, PYTHONIOENCODING="latin-1")
        assert r"\u8a31" in told


def test_strict_tells_of_them(site: Path, listed: dict[str, Row]) -> None:
    run(site, "-m", "wbczoo", "list", "--strict", expect=3)


def test_a_family_that_cannot_list_itself_still_says_what_it_lacks(site: Path) -> None:
    script = (
        "from wbczoo.errors import UsageError\n"
        "from wbczoo.registry import backbones\n"
        "try: backbones.find('sulk/anything')\n"
        "except UsageError as error: print(error)"
    )
    assert "The family sulk/* has no member 'anything'." in run(site, "-c", script)


def test_a_listing_loads_no_stranger_in_its_own_process(tmp_path: Path) -> None:
    for number in range(12):
        install(tmp_path, f"fake-{number}", f"fake{number}", COUNT + part(f"fake{number}"))
    script = (
        "import sys; from wbczoo.cli import main; main(['list']);"
        "print([name for name in sys.modules if name.startswith('fake_')])"
    )
    for _ in range(2):
        told = run(tmp_path, "-c", script)
        assert told.splitlines()[-1] == "[]"
        assert all(f"fake{number} " in told for number in range(12))
    loads = [path.read_text() for path in tmp_path.glob("*.loads")]
    assert loads == ["x"] * 12  # each was tried once, apart


def test_a_mended_plugin_is_seen_at_once(tmp_path: Path) -> None:
    """Also where what changed is not the module of the entry point, but one beside it."""
    package = tmp_path / "mended"
    package.mkdir()
    install(tmp_path, "mended", "mended", "").unlink()
    (package / "__init__.py").write_text("from mended.parts import PART")
    (package / "parts.py").write_text("PART = 3")

    def status() -> str:
        rows = json.loads(run(tmp_path, "-m", "wbczoo", "list", "--json"))["backbones"]
        return next(row["status"] for row in rows if row["distribution"] == "mended")

    assert status() == "broken"
    (package / "parts.py").write_text(part("mended") + "# and longer than before\n")
    assert status() == "ok"


def test_only_allowed_distributions_are_loaded(tmp_path: Path) -> None:
    for distribution in ("first-zoo", "second-zoo"):
        install(tmp_path, distribution, "net", COUNT + part("net"))

    def ask(verb: str, allowed: str) -> dict[str, Row]:
        told = run(tmp_path, "-m", "wbczoo", *verb.split(), "--json", WBCZOO_PLUGINS=allowed)
        found = json.loads(told).items()
        rows = [row for kind, rows in found if kind not in ("format", "models") for row in rows]
        return {row["distribution"]: row for row in rows}

    assert set(ask("list", "")) == {"wbczoo"}
    assert not list(tmp_path.glob("*.loads"))
    rows = ask("plugin list", "Second_Zoo, other")
    assert rows["second-zoo"]["status"] == "ok"  # the other does not take its name
    assert rows["first-zoo"]["status"] == "blocked"
    assert "WBCZOO_PLUGINS does not name first-zoo" in rows["first-zoo"]["reason"]
    assert [path.stem for path in tmp_path.glob("*.loads")] == ["second_zoo"]
    assert set(ask("list", "second-zoo")) == {"wbczoo", "second-zoo"}
    script = (
        "from wbczoo.errors import UsageError\n"
        "from wbczoo.registry import backbones\n"
        "try: backbones.find('first-zoo:net')\n"
        "except UsageError as error: print(error)"
    )
    assert "WBCZOO_PLUGINS does not name" in run(tmp_path, "-c", script, WBCZOO_PLUGINS="x")
