"""`wbczoo plugin list` and `plugin check` answer whatever the part does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fake_plugins import install, part, run


def test_plugin_list_shows_licences(tmp_path: Path) -> None:
    install(tmp_path, "legal-zoo", "legal", part("legal", "licence='EUPL-1.2'"))
    rows = json.loads(run(tmp_path, "-m", "wbczoo", "plugin", "list", "--json"))["plugins"]
    found = {row["name"]: row for row in rows if row["kind"] == "backbone"}
    assert found["legal"] == {
        "name": "legal",
        "kind": "backbone",
        "family": False,
        "distribution": "legal-zoo",
        "version": "1.5",
        "licence": "EUPL-1.2",
        "status": "ok",
        "reason": "",
    }
    assert found["mobilenetv2"]["licence"] == "Apache-2.0"
    assert found["timm/*"]["family"]
    assert "legal-zoo" in run(tmp_path, "-m", "wbczoo", "plugin", "list")


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("import time\nwhile True: time.sleep(1)", "did not load within"),
        ("import os; os._exit(3)", "ended the process"),
        ("PART = 3", "is a int"),
    ],
)
def test_check_says_in_words_what_does_not_load(code: str, word: str, tmp_path: Path) -> None:
    install(tmp_path, "endless", "endless", code)
    script = (
        "import sys; from wbczoo.registry import sandbox; sandbox.TIME_LIMIT = 2.0\n"
        "from wbczoo.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    told = run(tmp_path, "-c", script, "plugin", "check", "endless", "--json", expect=3)
    document = json.loads(told)
    assert not document["passed"]
    (only,) = document["checks"]
    assert (only["check"], only["result"]) == ("check_loads_quietly", "failed")
    assert word in only["reason"]


LAZY = """
from wbczoo.specs import BaselineSpec
import os, pathlib, time
mark = pathlib.Path(__file__).with_suffix(".mark")
class Lazy:
    def fit(self, images, labels, groups):
        {what}
PART = BaselineSpec(name="lazy", licence="MIT", build=lambda *, seed: Lazy())
"""
FITTED = ("check_probabilities", "check_baseline_seed", "check_baseline_rows_alone")


def check_lazy(site: Path, what: str, *options: str) -> dict[str, tuple[str, str]]:
    """Check -> what came of it and why, of a baseline that does `what` when it is fitted."""
    install(site, "lazy", "lazy", LAZY.format(what=what), group="wbczoo.baselines")
    command = ("-m", "wbczoo", "plugin", "check", "lazy", *options, "--json")
    document = json.loads(run(site, *command, expect=3))
    return {row["check"]: (row["result"], row["reason"]) for row in document["checks"]}


def test_check_goes_on_after_checks_that_kill(tmp_path: Path) -> None:
    found = check_lazy(tmp_path, "os.kill(os.getpid(), 9)")
    assert found["check_declaration"] == ("passed", "")
    for check in FITTED:
        assert found[check][0] == "failed"
        assert "SIGKILL" in found[check][1]


def test_check_goes_on_after_a_check_that_hangs(tmp_path: Path) -> None:
    once = "assert not mark.exists(); mark.touch(); time.sleep(10**6)"
    found = check_lazy(tmp_path, once, "--time-limit", "8")
    assert found[FITTED[0]] == ("failed", "It did not end within 8 seconds.")
    for check in FITTED[1:]:  # each is asked, and told by the part why it cannot be
        assert found[check] == ("not run", "It cannot be fitted: AssertionError: ")


def test_check_wants_one_part(tmp_path: Path) -> None:
    for arguments, word in (
        ((), "Give a part's name"),
        (("none",), "say --kind"),
        (("no_such_part",), "No part is called"),
        (("gru", "--family", "timm"), "Give a part's name"),
        (("--family", "timm"), "--smallest-of-each"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "wbczoo", "plugin", "check", *arguments],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert word in done.stderr


def test_check_asks_for_data_that_a_set_cannot_make(tmp_path: Path) -> None:
    for name in ("pbc", "folder", "bccd"):
        done = subprocess.run(
            [sys.executable, "-m", "wbczoo", "plugin", "check", name, "--json"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (2, "")
        assert "name them with --data" in done.stderr


def test_check_of_a_part_that_needs_what_is_not_installed_ends_with_1(tmp_path: Path) -> None:
    install(tmp_path, "wbczoo-wanting", "wanting", part("wanting", "requires=('no_such_package',)"))
    assert run(tmp_path, "-m", "wbczoo", "plugin", "check", "wanting", expect=1) == ""
