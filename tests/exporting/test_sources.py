"""Which real images an export is measured on."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_images import picture

from wbczoo.errors import UsageError
from wbczoo.exporting.sources import given_images
from wbczoo.specs import Preprocessing

SMALL = Preprocessing(size=(16, 16))


def test_given_images_are_different_ones_that_can_be_read(tmp_path: Path) -> None:
    for seed in range(3):
        (tmp_path / f"{seed}.png").write_bytes(picture(seed))
    for number in range(6):
        shutil.copy(tmp_path / "0.png", tmp_path / f"copy-{number}.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    found = given_images(tmp_path, SMALL, 9)
    assert found.shape == (3, 3, 16, 16)
    assert len(np.unique(found.reshape(3, -1), axis=0)) == 3
    assert len(given_images(tmp_path, SMALL, 2)) == 2
    with pytest.raises(UsageError, match="holds no image that can be used"):
        given_images(tmp_path / "broken.png", SMALL, 9)
