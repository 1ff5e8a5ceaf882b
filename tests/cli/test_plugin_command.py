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


def test_check_goes_on_after_a_check_that_hangs_or_kills(tmp_path: Path) -> None:
    behave = (
        "from wbczoo.specs import BaselineSpec\n"
        "import os, time\n"
        "class Lazy:\n"
        "    def fit(self, images, labels, groups):\n"
        "        while True: time.sleep(1)\n"
        "PART = BaselineSpec(name='lazy', licence='MIT', build=lambda *, seed: Lazy())\n"
    )
    install(tmp_path, "lazy", "lazy", behave, group="wbczoo.baselines")
    command = ("-m", "wbczoo", "plugin", "check", "lazy", "--time-limit", "8", "--json")
    document = json.loads(run(tmp_path, *command, expect=3))
    found = {row["check"]: (row["result"], row["reason"]) for row in document["checks"]}
    assert found["check_declaration"] == ("passed", "")
    for check in ("check_probabilities", "check_baseline_seed", "check_baseline_rows_alone"):
        assert found[check] == ("failed", "It did not end within 8 seconds.")
    kills = behave.replace("while True: time.sleep(1)", "os.kill(os.getpid(), 9)")
    install_again = tmp_path / "lazy.py"
    install_again.write_text(kills)
    document = json.loads(run(tmp_path, *command, expect=3))
    found = {row["check"]: (row["result"], row["reason"]) for row in document["checks"]}
    assert found["check_declaration"] == ("passed", "")
    assert "SIGKILL" in found["check_probabilities"][1]
    assert "SIGKILL" in found["check_baseline_rows_alone"][1]


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
