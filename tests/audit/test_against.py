"""Images that a backbone was pretrained on are found in a list of hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from commands import Completed

Run = Callable[..., Completed]


def test_listed_files_are_named_by_side(wbczoo: Run, smears: Path, tmp_path: Path) -> None:
    known = sorted((smears / "test").rglob("*.jpg"))[:2]
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in known]
    hashes = tmp_path / "pretraining.txt"
    hashes.write_text("# of a backbone\n" + "\n".join(lines).upper() + "\n" + "0" * 64 + "\n")
    audit = ("data", "audit", smears, "--dataset", "synthetic", "--against", hashes)
    found = json.loads(wbczoo(*audit, "--json", expect=3).stdout)
    assert found["hashes"] == 3
    (paths,) = [paths for side, paths in found["listed"].items() if side == "test"]
    assert {Path(path).name for path in paths} == {path.name for path in known}
    told = wbczoo(*audit, "--protocol", "official", expect=3).stdout
    assert f"LEAK: 2 of {found['files']['test']} test files are among the 3 listed" in told
    hashes.write_text("0" * 64)
    wbczoo(*audit)
    hashes.write_text("d41d8cd98f00b204e9800998ecf8427e  a.jpg\n")
    assert "Line 1 of" in wbczoo(*audit, expect=2).stderr
