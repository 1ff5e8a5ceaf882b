"""Fill a pixel cache from a folder: `filling.py CACHE FOLDER PLACE COUNT [MEETING]`.

PLACE is where the process kills itself for the COUNTth time: `pixels` or `index` (the bytes are
written and not yet on the disk), `torn` (half of them are); or `never`. `waits` never dies and
does not start before another process fills; `meets` goes on (or with COUNT 1 dies) when that other
process waits for it. MEETING is the folder where the two leave word.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from wbczoo.data import cache
from wbczoo.specs import Preprocessing

PREPROCESSING = Preprocessing(size=(48, 64))


def main(folder: Path, root: Path, place: str, count: int, meeting: Path) -> None:
    """Fill the cache with every file below `root`, eight at a time."""
    cache._CHUNK = 8
    wanted = {
        hashlib.sha256(path.read_bytes()).hexdigest(): path.read_bytes
        for path in sorted(root.rglob("*.jpg"))
    }
    if place in ("pixels", "index", "torn"):
        _lay_trap(place, count)
    if place == "waits":
        _wait_for(meeting / "inside")
    if place == "meets":

        def meet(images: int) -> None:
            if images and not (meeting / "inside").exists():
                (meeting / "inside").touch()
                _wait_for(meeting / "waiting")
                if count:
                    os.kill(os.getpid(), signal.SIGKILL)

    else:

        def meet(images: int) -> None:
            pass

    filled = cache.PixelCache(PREPROCESSING, folder)
    refused = filled.fill(wanted, advance=meet, waiting=(meeting / "waiting").touch)
    assert refused == {}


def _lay_trap(place: str, count: int) -> None:
    met = 0
    flush = cache._flush

    def trapped(stream: Any) -> None:
        nonlocal met
        pixels = Path(stream.name).name == "pixels.u8"
        met += place == "torn" or pixels == (place == "pixels")
        if met == count:
            stream.flush()
            if place == "torn":
                stream.truncate(stream.tell() - 37)
            os.kill(os.getpid(), signal.SIGKILL)
        flush(stream)

    cache._flush = trapped


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.01)


if __name__ == "__main__":
    places = Path(sys.argv[1]), Path(sys.argv[2])
    main(*places, sys.argv[3], int(sys.argv[4]), Path(sys.argv[5] if len(sys.argv) > 5 else "."))
