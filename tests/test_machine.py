"""What is asked for in a hint is what can be had: by the way that wbczoo was installed."""

from __future__ import annotations

import json
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from wbczoo import machine

METADATA = """Metadata-Version: 2.4
Name: wbczoo
Version: 0.1.0
Requires-Dist: numpy>=1.26
Requires-Dist: onnx>=1.17; extra == 'adapt'
Requires-Dist: scipy>=1.15; extra == 'adapt'
Requires-Dist: starlette>=1.0; extra == 'serve'
"""


def installed_from(folder: Path, origin: dict[str, object] | None) -> Distribution:
    """An installed wbczoo, as pip writes it down."""
    about = folder / "wbczoo-0.1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(METADATA)
    if origin is not None:
        (about / "direct_url.json").write_text(json.dumps(origin))
    return Distribution.at(about)


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, "pip install 'wbczoo[adapt]'"),
        ({"url": "https://host/w.whl", "archive_info": {}}, "pip install 'wbczoo[adapt]'"),
        ({"url": "file:///a%20b/clone", "dir_info": {}}, "pip install '/a b/clone[adapt]'"),
        ({"url": "file:///clone", "dir_info": {"editable": True}},
         "pip install --editable '/clone[adapt]'"),
        ({"url": "file:///w.whl", "archive_info": {}}, "pip install '/w.whl[adapt]'"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("lone", [False, True])
def test_a_hint_fits_the_way_that_was_taken(
    origin: dict[str, object] | None, command: str, lone: bool, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    home = installed_from(tmp_path, origin)
    monkeypatch.setattr("importlib.metadata.distribution", lambda _: home)
    monkeypatch.setattr(machine, "_HAS_GPU_BUILD", True)
    monkeypatch.setattr(
        machine, "installed", lambda name: ((name == "onnxruntime") == lone and "1") or None
    )
    told = machine.how_to_install.__wrapped__("adapt")
    # Beside the lone onnxruntime an extra by its own name would bring the other one back.
    assert told == ("pip install 'onnx>=1.17' 'scipy>=1.15'" if lone else command)
