"""Decoded pixels pass through here once, into a memory-mapped file that training reads.

One cache is one file of rows for one way of preprocessing, and one index that says which content
hash each row holds, with a checksum. Rows are only ever appended, under a lock, and the index
follows the pixels to the disk: a writer may die anywhere, and two may work at the same time.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from wbczoo import files, images
from wbczoo.cells.crop import finder_sha256
from wbczoo.cells.finder import RULES
from wbczoo.errors import ImageRefused, WbczooError
from wbczoo.files import cache_folder as cache_folder
from wbczoo.specs import Preprocessing

Pixels = NDArray[np.uint8]

# Changes whenever the same file would decode to other pixels than before.
DECODING = 1

_CHUNK = 256

_LINE = re.compile(rb"([0-9a-f]{64}) ([0-9a-f]{8})\n")
_LINE_BYTES = 74


class PixelCache:
    """The uint8 pixels of images under one preprocessing, by content hash.

    Args:
        preprocessing: crop, size, interpolation and antialias decide the pixels; mean and std
            are applied inside the model and do not.
        folder: where caches live; `cache_folder()` if None.

    Raises:
        WbczooError: if the folder cannot be made.
    """

    def __init__(self, preprocessing: Preprocessing, folder: Path | None = None) -> None:
        self.preprocessing = preprocessing
        recipe: dict[str, object] = {
            "decoding": DECODING,
            "crop": preprocessing.crop,
            "size": list(preprocessing.size),
            "interpolation": preprocessing.interpolation,
            "antialias": preprocessing.antialias,
        }
        if preprocessing.finds_cell:
            recipe["finder"] = f"{RULES} {finder_sha256()}"
        name = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]
        self.folder = (folder or cache_folder()) / "pixels" / name
        self.shape = (*preprocessing.size, 3)  # (H, W, 3)
        self._row_bytes = int(np.prod(self.shape))
        self._pixels = self.folder / "pixels.u8"
        self._index = self.folder / "index.txt"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / "recipe.json").is_file():
                files.write_json(self.folder / "recipe.json", recipe)
        except OSError as error:
            raise self._unwritable(error) from None

    def fill(
        self,
        wanted: Mapping[str, Callable[[], bytes]],
        *,
        advance: Callable[[int], object] = lambda count: None,
        waiting: Callable[[], object] = lambda: None,
    ) -> dict[str, str]:
        """Decode what is not yet here, and decode again what a checksum does not confirm.

        Args:
            wanted: content hash (SHA-256, in hexadecimal) -> a function that reads the file.
            advance: called with the number of images that are done.
            waiting: called once if another process is writing the same cache.

        Returns:
            content hash -> reason, for each image that was refused, or could not be read any
            more, or is no longer what it was when it was hashed.

        Raises:
            WbczooError: if the disk is full or the folder cannot be written.
        """
        try:
            # Readers need no turn: rows are only ever appended, and one in mending fails its sum.
            if self._confirms(wanted):
                advance(len(wanted))
                return {}
            with files.locked(self.folder / "lock", waiting):
                return self._fill(wanted, advance)
        except OSError as error:
            raise self._unwritable(error) from None

    def rows(self, hashes: Sequence[str]) -> NDArray[np.int64]:
        """The row of each content hash in `pixels()`; KeyError for one that is not here."""
        index = {digest: row for row, (digest, _) in enumerate(self._read_index())}
        return np.array([index[digest] for digest in hashes], np.int64)

    def held(self, hashes: Sequence[str]) -> list[str]:
        """Those of the content hashes whose pixels are cached, in the order given."""
        here = {digest for digest, _ in self._read_index()}
        return [digest for digest in hashes if digest in here]

    def pixels(self) -> Pixels:
        """All rows, (rows, H, W, 3) uint8, mapped from the disk and not to be written to."""
        count = len(self._read_index())
        if count == 0:
            return np.zeros((0, *self.shape), np.uint8)
        return np.memmap(self._pixels, np.uint8, "r", shape=(count, *self.shape))

    def _fill(
        self, wanted: Mapping[str, Callable[[], bytes]], advance: Callable[[int], object]
    ) -> dict[str, str]:
        index = self._read_index()
        self._truncate(len(index))
        place = {digest: row for row, (digest, _) in enumerate(index)}
        refused: dict[str, str] = {}
        missing = [digest for digest in wanted if digest not in place]
        present = [digest for digest in wanted if digest in place]
        with ThreadPoolExecutor() as pool:
            for digest in self._damaged(present, index, place, pool):
                image = self._decode(digest, wanted[digest])
                if isinstance(image, str):
                    refused[digest] = image
                else:
                    self._mend(place[digest], digest, image)
            advance(len(present))
            for start in range(0, len(missing), _CHUNK):
                chunk = missing[start : start + _CHUNK]
                decoded = list(pool.map(self._decode, chunk, map(wanted.__getitem__, chunk)))
                good: list[tuple[str, Pixels]] = []
                for digest, image in zip(chunk, decoded, strict=True):
                    if isinstance(image, str):
                        refused[digest] = image
                    else:
                        good.append((digest, image))
                self._append(good)
                advance(len(chunk))
        return refused

    def _confirms(self, wanted: Mapping[str, object]) -> bool:
        """Whether every one of these is here and whole, with nothing torn behind them."""
        index = self._read_index()
        place = {digest: row for row, (digest, _) in enumerate(index)}
        whole = all(
            path.is_file() and path.stat().st_size == len(index) * length
            for path, length in ((self._pixels, self._row_bytes), (self._index, _LINE_BYTES))
        )
        if not whole or not all(digest in place for digest in wanted):
            return False
        with ThreadPoolExecutor() as pool:
            return not self._damaged(list(wanted), index, place, pool)

    def _decode(self, digest: str, read: Callable[[], bytes]) -> Pixels | str:
        try:
            content = read()
        except WbczooError as error:
            return str(error)
        if hashlib.sha256(content).hexdigest() != digest:
            return "The file was changed while it was in use; start again."
        try:
            return images.pixels(content, self.preprocessing)
        except ImageRefused as refusal:
            return str(refusal)

    def _damaged(
        self,
        present: Sequence[str],
        index: Sequence[tuple[str, int]],
        place: Mapping[str, int],
        pool: ThreadPoolExecutor,
    ) -> list[str]:
        if not present:
            return []
        pixels = self.pixels()
        sums = pool.map(lambda digest: _sum(pixels[place[digest]]), present)
        return [
            digest
            for digest, found in zip(present, sums, strict=True)
            if found != index[place[digest]][1]
        ]

    def _append(self, good: Sequence[tuple[str, Pixels]]) -> None:
        with self._pixels.open("ab") as stream:
            for _, image in good:
                stream.write(image.tobytes())
            _flush(stream)
        with self._index.open("ab") as stream:
            stream.write(b"".join(_line(digest, image) for digest, image in good))
            _flush(stream)

    def _mend(self, row: int, digest: str, image: Pixels) -> None:
        with self._pixels.open("r+b") as stream:
            stream.seek(row * self._row_bytes)
            stream.write(image.tobytes())
            _flush(stream)
        with self._index.open("r+b") as stream:
            stream.seek(row * _LINE_BYTES)
            stream.write(_line(digest, image))
            _flush(stream)

    def _read_index(self) -> list[tuple[str, int]]:
        """(content hash, checksum) of each row; a line that a dying writer tore ends it."""
        try:
            content = self._index.read_bytes()
        except FileNotFoundError:
            return []
        entries: list[tuple[str, int]] = []
        while line := _LINE.match(content, len(entries) * _LINE_BYTES):
            entries.append((line[1].decode(), int(line[2], 16)))
        return entries

    def _truncate(self, rows: int) -> None:
        """Cut what a writer left behind that died before its index lines were whole."""
        for path, length in ((self._pixels, self._row_bytes), (self._index, _LINE_BYTES)):
            path.touch()
            with path.open("r+b") as stream:
                stream.truncate(rows * length)

    def _unwritable(self, error: OSError) -> WbczooError:
        return WbczooError(
            f"The pixel cache at {self.folder} cannot be written: {error.strerror or error}. Free "
            "some space there, or set WBCZOO_CACHE to another folder."
        )


def _flush(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _line(digest: str, image: Pixels) -> bytes:
    return f"{digest} {_sum(image):08x}\n".encode()


def _sum(image: Pixels) -> int:
    return zlib.crc32(np.ascontiguousarray(image).data)
