"""`wbczoo plugin new` names a plugin soundly, and writes it whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import ROOT, Completed

from wbczoo.errors import UsageError
from wbczoo.skeleton import KINDS, Kind, Names, name_plugin, write_plugin


@pytest.mark.parametrize(
    ("distribution", "module", "part", "constant"),
    [
        ("wbczoo-mynet", "wbczoo_mynet", "mynet", "MYNET"),
        ("mynet", "mynet", "mynet", "MYNET"),
        ("WBCzoo.My--Net", "wbczoo_my_net", "my_net", "MY_NET"),
        ("wbczoo_3d-net", "wbczoo_3d_net", "3d_net", "PART_3D_NET"),
        ("x", "x", "x", "X"),
        (f"wbczoo-{'n' * 64}", f"wbczoo_{'n' * 64}", "n" * 64, "N" * 64),
    ],
)
def test_names_follow_from_the_distributions(
    distribution: str, module: str, part: str, constant: str
) -> None:
    assert name_plugin(distribution, "backbone") == Names(distribution, module, part, constant)


@pytest.mark.parametrize(
    ("distribution", "kind", "sentence"),
    [
        ("", "backbone", "is no name of a distribution"),
        ("-net", "backbone", "is no name of a distribution"),
        ("wbczoo-", "backbone", "is no name of a distribution"),
        ("my net", "backbone", "is no name of a distribution"),
        ("../net", "backbone", "is no name of a distribution"),
        ("nét", "backbone", "is no name of a distribution"),
        ("net\n", "backbone", "is no name of a distribution"),
        ("3dnet", "backbone", "Python cannot import.*wbczoo-3dnet"),
        ("Class", "backbone", "Python cannot import.*wbczoo-class"),
        ("json", "backbone", "would hide Python's own module 'json'"),
        ("wbczoo", "backbone", "would hide wbczoo's own module 'wbczoo'"),
        ("wbczoo-timm", "backbone", "would hide wbczoo's own module 'wbczoo_timm'"),
        ("WBCZOO.Timm", "sequence", "would hide wbczoo's own module 'wbczoo_timm'"),
        ("pil", "dataset", None),  # what is installed is PIL, which is another name
        ("_pytest", "dataset", "is no name of a distribution"),
        ("NumPy", "backbone", "would hide the module 'numpy' that is installed here"),
        (f"wbczoo-{'n' * 65}", "backbone", "has 65 characters, and 64 are allowed"),
        ("wbczoo-vgg16", "backbone", "wbczoo has a backbone 'vgg16' itself"),
        ("wbczoo-vgg16", "sequence", None),
        ("wbczoo-torchvision", "backbone", "would hide"),
        ("wbczoo-Bilstm-Features", "sequence", "has a sequence branch 'bilstm_features' itself"),
        ("wbczoo-none", "sequence", "wbczoo has a sequence branch 'none' itself"),
        ("bccd", "dataset", "wbczoo has a data set 'bccd' itself"),
    ],
)
def test_a_name_that_would_do_harm_is_refused_with_its_reason(
    distribution: str, kind: Kind, sentence: str | None, tmp_path: Path
) -> None:
    if sentence is None:
        assert write_plugin(distribution, kind, tmp_path / "out")
        return
    with pytest.raises(UsageError, match=sentence):
        write_plugin(distribution, kind, tmp_path / "above" / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_plugin_that_is_installed_can_be_written_again(tmp_path: Path) -> None:
    about = tmp_path / "wbczoo_again-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: wbczoo-again\nVersion: 1.0\n")
    (tmp_path / "wbczoo_again.py").touch()
    script = "from wbczoo.skeleton import name_plugin; name_plugin('wbczoo-again', 'backbone')"
    command = [sys.executable, "-c", script]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert "would hide the module 'wbczoo_again' that is installed here" in done.stderr
    (about / "entry_points.txt").write_text("[wbczoo.backbones]\nagain = wbczoo_again:AGAIN\n")
    subprocess.run(command, check=True, env=environment)


def test_a_folder_that_holds_something_is_left_as_it_is(tmp_path: Path) -> None:
    kept = tmp_path / "out" / "thesis.txt"
    kept.parent.mkdir()
    kept.write_text("years")
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name, sentence in (
        ("out", "holds something"),
        ("file", "is no folder"),
        ("link", "is no folder"),
    ):
        with pytest.raises(UsageError, match=f"{name} is there already and {sentence}"):
            write_plugin("wbczoo-mynet", "backbone", tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link", "out"]
    assert [path.read_text() for path in kept.parent.iterdir()] == ["years"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_is_told_and_nothing_else_is_there(kind: Kind, tmp_path: Path) -> None:
    out = tmp_path / "above" / "out"
    written = write_plugin("wbczoo-mynet", kind, out)
    found = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(written) == sorted(found)
    assert {path.relative_to(out).as_posix() for path in written} >= {
        "pyproject.toml", "README.md", "LICENSE", ".gitignore", "tests/test_mynet.py",
        "wbczoo_mynet/__init__.py",
    }  # fmt: skip
    for path in written:
        assert "$" not in path.read_text(encoding="utf-8"), path
    project = tomllib.loads((out / "pyproject.toml").read_text())["project"]
    assert project["entry-points"] == {f"wbczoo.{kind}s": {"mynet": "wbczoo_mynet:MYNET"}}
    assert project["license"] == "MIT"


def test_an_empty_folder_is_filled_in_its_place(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    before = out.stat().st_ino
    write_plugin("wbczoo-mynet", "baseline", out)
    assert out.stat().st_ino == before
    assert (out / "pyproject.toml").is_file()
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("there", [False, True])
def test_a_full_disk_leaves_nothing(there: bool, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    out = tmp_path / "out"
    if there:
        out.mkdir()
    script = (
        "import resource, sys; from pathlib import Path; from wbczoo.skeleton import write_plugin;"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (600, {resource.RLIM_INFINITY}));"
        "write_plugin('wbczoo-mynet', 'dataset', Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["out"] * there


def test_what_is_written_is_typed(tmp_path: Path) -> None:
    modules = []
    for kind in KINDS:
        write_plugin(f"wbczoo-my{kind}", kind, tmp_path / kind)
        modules.append(tmp_path / kind / f"wbczoo_my{kind}")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *map(str, modules)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": os.pathsep.join(str(m.parent) for m in modules)},
    )
    assert done.returncode == 0, done.stdout


def test_the_command_tells_files_and_what_comes_next(
    wbczoo: Callable[..., Completed], tmp_path: Path
) -> None:
    done = wbczoo("plugin", "new", "wbczoo-mynet", "--kind", "sequence", cwd=tmp_path)
    listed = done.stdout.splitlines()
    assert "wbczoo-mynet/wbczoo_mynet/branch.py" in listed
    assert all((tmp_path / name).is_file() for name in listed)
    assert [line.strip() for line in done.stderr.splitlines()] == [
        "next:",
        "pip install --editable 'wbczoo-mynet[test]'",
        "wbczoo plugin check mynet",
        "python -m pytest wbczoo-mynet",
    ]
    again = wbczoo("plugin", "new", "wbczoo-mynet", "--kind", "sequence", cwd=tmp_path, expect=2)
    assert "wbczoo-mynet is there already and holds something" in again.stderr
    assert again.stdout == ""
