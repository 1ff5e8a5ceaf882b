"""What onnxruntime can use here is told, and a broken installation is named with its cure."""

from __future__ import annotations

import re

import pytest

from wbczoo.runtime import devices


def test_the_installed_runtime_is_named() -> None:
    installed = devices.installed_runtimes()
    assert len(installed) == 1, "more than one onnxruntime is installed"
    assert devices.import_onnxruntime().__version__ in installed.values()
    assert devices.cores() >= 1


@pytest.mark.parametrize(
    ("installed", "reason"),
    [
        (["onnxruntime", "onnxruntime-gpu"], "overwrite one another.*pip uninstall"),
        (["onnxruntime"], "built without CUDA.*pip uninstall onnxruntime,"),
    ],
)
def test_a_build_without_cuda_says_which_package_to_exchange(
    installed: list[str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnxruntime = devices.import_onnxruntime()
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [devices.CPU])
    monkeypatch.setattr(devices, "installed_runtimes", lambda: dict.fromkeys(installed, "1.31"))
    monkeypatch.setattr("sys.platform", "linux")
    told = devices.explain_cuda()
    assert told is not None
    assert re.search(reason, told)


def test_missing_libraries_are_named() -> None:
    missing = ["libcublas.so.13", "libcudnn.so.9", "libcublas.so.13"]
    told = devices.explain_libraries(devices.CUDA, missing)
    assert "(libcublas.so.13, libcudnn.so.9)" in told
    assert "pip install 'onnxruntime-gpu[cuda,cudnn]'" in told
