"""`doctor` tells what is there, what is wrong and what to do, and survives what it finds."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import fake_plugins
import pytest

from wbczoo import machine

# In a process that must not have met torch by its end: it is asked in another one.
SCRIPT = (
    "import sys; from wbczoo.cli import main; code = main(['doctor', *sys.argv[1:]]);"
    "sys.exit('imported torch' if 'torch' in sys.modules else code)"
)

# A driver with one GPU, as far as it is asked.
NVML = r"""
#include <stdio.h>
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *t, unsigned n) { snprintf(t, n, "580.1"); return 0; }
int nvmlSystemGetCudaDriverVersion(int *v) { *v = 13020; return 0; }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = 1; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **h) { *h = (void *)0x7f0000001234; return i; }
int nvmlDeviceGetName(void *h, char *t, unsigned n) {
  snprintf(t, n, h == (void *)0x7f0000001234 ? "Drawn GPU" : "another"); return 0; }
int nvmlDeviceGetMemoryInfo(void *h, unsigned long long *m) {
  m[0] = 80000000000; m[1] = 70000000000; m[2] = 10000000000; return 0; }
int nvmlDeviceGetCudaComputeCapability(void *h, int *a, int *b) { *a = 9; *b = 0; return 0; }
"""
DRIVER = r"""
#include <stdio.h>
int cuDriverGetVersion(int *v) { *v = 13020; return 0; }
int cuInit(unsigned flags) { return 0; }
int cuDeviceGetCount(int *n) { *n = 1; return 0; }
int cuDeviceGet(int *d, int i) { *d = 7; return 0; }
int cuDeviceGetName(char *t, int n, int d) {
  snprintf(t, n, d == 7 ? "Drawn board" : "another"); return 0; }
int cuDeviceTotalMem_v2(size_t *m, int d) { *m = 8000000000; return 0; }
"""
CRASHING_DRIVER = r"""
#include <stdlib.h>
int cuInit(unsigned flags) { abort(); }
"""


def diagnose(*arguments: str, expect: int = 0, **changed: str) -> dict[str, Any]:
    """What `doctor --json` says."""
    command = [sys.executable, "-c", SCRIPT, *arguments, "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | changed
    )
    assert done.returncode == expect, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def compile_library(source: str, path: Path) -> None:
    """A shared library from C, or a skip that says why not."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("a stand-in for the driver needs a C compiler and Linux")
    command = [compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", str(path)]
    subprocess.run(command, input=source, text=True, check=True)


def test_it_tells_everything_and_no_secret(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"x" * 5000)
    found = diagnose(
        WBCZOO_CACHE=str(tmp_path),
        HF_TOKEN="hf_secret",
        HTTPS_PROXY="http://me:secret@proxy:3128",
        CUDA_VISIBLE_DEVICES="0",
    )
    assert "secret" not in json.dumps(found)
    told = found["environment"]
    assert told["HF_TOKEN"] == "set, not shown"
    assert told["HTTPS_PROXY"] == "http://***@proxy:3128"
    assert told["CUDA_VISIBLE_DEVICES"] == "0"
    assert found["cache"]["size"] == 5000
    assert found["cache"]["free"] > 0
    assert found["torch"]["version"].startswith(found["packages"]["torch"])
    assert found["devices"]["cpu"] is None
    assert len(found["onnxruntime"]) == 1
    assert found["memory"]["available"] < found["memory"]["total"]
    assert found["problems"] == []
    if sys.platform == "linux":
        flags = set(Path("/proc/cpuinfo").read_text().split())
        assert set(found["vector_units"]) <= flags
        assert ("avx2" in found["vector_units"]) == ("avx2" in flags)


def test_what_must_be_mended_is_named(tmp_path: Path) -> None:
    site = tmp_path / "site"
    fake_plugins.install(site, "wbczoo-bad", "bad", "raise RuntimeError('no licence server')")
    for name in ("onnxruntime", "onnxruntime-gpu"):
        about = site / f"{name.replace('-', '_')}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (site / "torch.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    broken = {"PYTHONPATH": str(site), "WBCZOO_WEIGHTS": str(tmp_path / "gone")}
    found = diagnose(expect=3, **broken)
    problems = "\n".join(found["problems"])
    for words in (
        "onnxruntime and onnxruntime-gpu are installed and overwrite each other",
        r"PyTorch does not load \(RuntimeError: operator torchvision::nms",
        "backbones/bad is broken: .*no licence server",
        "WBCZOO_WEIGHTS is .* no folder",
    ):
        assert re.search(words, problems), problems
    assert len(found["problems"]) == 4
    assert "PyTorch" not in str(diagnose("--no-torch", expect=3, **broken)["problems"])


def test_a_gpu_is_described_as_its_driver_does(tmp_path: Path) -> None:
    compile_library(NVML, tmp_path / "libnvidia-ml.so.1")
    place = {"LD_LIBRARY_PATH": str(tmp_path)}
    found = diagnose("--no-torch", **place)["nvidia"]
    assert found == {
        "driver": "580.1",
        "cuda": "13.2",
        "gpus": [
            {
                "name": "Drawn GPU",
                "memory": 80_000_000_000,
                "free": 70_000_000_000,
                "compute_capability": "9.0",
            }
        ],
    }
    (tmp_path / "libnvidia-ml.so.1").unlink()
    compile_library(DRIVER, tmp_path / "libcuda.so.1")
    found = diagnose("--no-torch", **place)
    (board,) = found["nvidia"]["gpus"]
    assert (board["name"], board["memory"]) == ("Drawn board", 8_000_000_000)
    assert found["nvidia"]["cuda"] == "13.2"
    # The driver is there, and yet CUDA does not start: trying it tells.
    assert "could not start CUDA" in found["devices"]["cuda"]


def test_a_driver_that_crashes_is_told(tmp_path: Path) -> None:
    compile_library(CRASHING_DRIVER, tmp_path / "libcuda.so.1")
    found = diagnose("--no-torch", expect=3, LD_LIBRARY_PATH=str(tmp_path))
    (problem,) = found["problems"]
    assert "onnxruntime" in problem
    assert "SIGABRT" in problem


def _write(root: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


GROUPS = {
    "one tree": (
        {
            "proc/self/cgroup": "0::/outer/inner\n",
            "sys/fs/cgroup/outer/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/outer/inner/cpu.max": "max 100000\n",
            "sys/fs/cgroup/outer/inner/memory.max": "2000000000\n",
            "sys/fs/cgroup/outer/memory.max": "max\n",
        },
        (1.5, 2_000_000_000),
    ),
    "a tree for each": (
        {
            "proc/self/cgroup": "4:memory:/host/path\n2:cpuacct,cpu:/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
        (0.5, None),
    ),
    "no limit": ({"proc/self/cgroup": "0::/\n2:cpu:/\n"}, (None, None)),
}


@pytest.mark.parametrize("kind", GROUPS)
def test_a_containers_limits_are_told(kind: str, tmp_path: Path) -> None:
    texts, (quota, limit) = GROUPS[kind]
    _write(tmp_path, texts)
    assert machine.cpu_quota(tmp_path) == quota
    assert machine.memory(tmp_path)["limit"] == limit
