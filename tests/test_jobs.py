"""Each job of docs/jobs.md is done as it is written, on drawn images of ten own classes."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import ROOT, Completed, expected, made_once, run_here

PAGE = (ROOT / "docs" / "jobs.md").read_text(encoding="utf-8")
JOBS = dict(re.findall(r"^## (.+?)$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
TEN = ("Band Neutrophils", "Segmented-Neutrophils", "EOS", "lymphocyte", "Reactive lymphocytes",
       "Monocytes", "Blasts", "Smudge", "Mitosis", "3")  # fmt: skip
AUDIT_FOUND = 3


@pytest.fixture(scope="session")
def own(smears: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`cells`, with a folder for each class, and `images` with `labels.csv`."""

    def make(root: Path) -> None:
        lines = ["file;label;slide"]
        for number, path in enumerate(sorted(smears.rglob("*.jpg"))):
            label, name = TEN[number % 10], f"{number:04}.jpg"
            for folder in (root / "cells" / label, root / "images"):
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, folder / name)
            lines.append(f"{name};{label};slide {path.name[:15]}")
        (root / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    return made_once(tmp_path_factory, "own", make)


@pytest.mark.parametrize("job", JOBS)
def test_a_job_is_done_as_it_is_written(
    job: str, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for made in own.iterdir():
        (tmp_path / made.name).symlink_to(made)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```(sh|python)\n(.*?)^```", JOBS[job], re.MULTILINE | re.DOTALL)
    assert sum(bool(line) for _, code in blocks for line in code.splitlines()) <= 10
    done: list[Completed] = []
    for language, code in blocks:
        if "import umap" in code:
            # What it is compiled by takes a minute, and few have it.
            assert np.load("features.npz")["features"].shape[1] == 1280
        elif language == "python":
            exec(compile(code, "docs/jobs.md", "exec"), {"__name__": "page"})
        if language == "python":
            continue
        for line in code.replace("\\\n", " ").splitlines():
            program, *words = shlex.split(line)
            assert program == "wbczoo"
            found = run_here(words, tmp_path)
            audits = words[:2] == ["data", "audit"] and found.returncode == AUDIT_FOUND
            done.append(expected(found, AUDIT_FOUND if audits else 0))
    for one in done:  # nothing vanishes in silence
        assert "left out of own" not in one.stdout
        assert "have no" not in one.stderr
