"""However many images there are, `predict` holds few of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from drawn_fields import write_model
from tiny_images import picture

from wbczoo.runtime import Session, predict_paths

PROGRAM = """
import sys
from pathlib import Path
from wbczoo.cli import main
code = main(sys.argv[1:])
print(Path("/proc/self/status").read_text(), file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells it")
def test_memory_does_not_grow_with_the_number_of_images(model: Path, tmp_path: Path) -> None:
    def peak(count: int) -> float:
        folder = tmp_path / str(count)
        folder.mkdir()
        for number in range(count):
            os.link(tmp_path / f"{number % 20}.png", folder / f"{number:05}.png")
        command = ["predict", str(folder), "--model", str(model), "--device", "cpu"]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *command], capture_output=True, text=True, check=True
        )
        assert done.stdout.count("\n") == count
        return int(re.findall(r"VmHWM:\s+(\d+) kB", done.stderr)[0]) / 1000

    for number in range(20):
        (tmp_path / f"{number}.png").write_bytes(picture(number, 64))
    few, many = peak(200), peak(3000)
    # Of each image its path stays, 0.3 MB here, while its pixels would be 36 MB.
    assert many - few < 10, (few, many)


def test_few_images_are_taken_ahead_of_their_rows(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture(0))
    taken = 0

    def images() -> Iterator[str]:
        nonlocal taken
        for _ in range(200):
            taken += 1
            yield str(tmp_path / "a.png")

    ahead = []
    for number, _ in enumerate(predict_paths(Session(model, device="cpu"), images(), batch_size=4)):
        ahead.append(taken - number)
    assert len(ahead) == 200
    assert max(ahead) <= 16


LITTLE = """
import resource
import sys
from pathlib import Path
import numpy as np
import wbczoo
from wbczoo.runtime import Session
ordinary, session = sys.argv[1], Session(sys.argv[2], device="cpu", threads=1)
# 7 megapixels so long and thin that the finder pads them to many times as many
thin = np.full((16, 450_000, 3), 220, np.uint8)
asked = [ordinary, thin, ordinary]
wbczoo.locate(ordinary)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (96 << 20), resource.RLIM_INFINITY))
for answers in (wbczoo.locate(asked, workers=1), session.predict(asked, workers=1)):
    print(*("error" in each for each in answers), answers[1]["error"])
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells it")
def test_an_image_whose_cells_need_too_much_memory_is_refused_alone(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture(0, 64))
    model = write_model(tmp_path / "model.onnx")
    command = [sys.executable, "-c", LITTLE, str(tmp_path / "a.png"), str(model)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    refusal = "Finding its cells needs more memory than there is; cut the image into tiles."
    assert done.stdout.splitlines() == [f"False True False {refusal}"] * 2
    assert "onnxruntime" not in done.stderr
