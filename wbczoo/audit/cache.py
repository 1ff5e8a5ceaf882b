"""Images become keypoints here, once: what was found is kept on the disk by content.

Finding keypoints takes most of an audit's time, and does not depend on the split that is audited.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from wbczoo import files, images
from wbczoo.audit.keypoints import FINDING, Keypoints, find_keypoints
from wbczoo.errors import WbczooError

_CHUNK = 128  # images, on average


def read_keypoints(
    wanted: Mapping[str, Callable[[], bytes]],
    *,
    pool: ThreadPoolExecutor,
    advance: Callable[[int], object] = lambda count: None,
) -> dict[str, Keypoints | str]:
    """The keypoints of each content, from the cache where they are in it.

    They are kept in chunks of about 128 images, so that an audit that was stopped goes on from its
    last whole chunk. A damaged chunk is made again; one that cannot be written is not kept.

    Args:
        wanted: content hash (SHA-256, in hexadecimal) -> a function that reads the file.
        advance: called with the number of images that are done.

    Returns:
        content hash -> keypoints, or the reason why the image was refused.
    """

    def find(digest: str) -> Keypoints | str:
        try:
            return find_keypoints(images.decode(wanted[digest]()))
        except WbczooError as error:
            return str(error)

    found: dict[str, Keypoints | str] = {}
    for chunk in _chunks(wanted):
        path = _place(chunk)
        known = _load(path, chunk)
        if known is None:
            known = dict(zip(chunk, pool.map(find, chunk), strict=True))
            _save(path, known)
        found |= known
        advance(len(chunk))
    return found


def _chunks(digests: Iterable[str]) -> Iterator[list[str]]:
    """Cut where a hash says so: one file more changes one chunk, and not all that follow."""
    chunk: list[str] = []
    for digest in sorted(digests):
        chunk.append(digest)
        if int(digest[-8:], 16) % _CHUNK == 0:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _place(chunk: list[str]) -> Path:
    name = hashlib.sha256("\n".join([str(FINDING), *chunk]).encode()).hexdigest()[:32]
    return files.cache_folder() / "keypoints" / f"{name}.npz"


def _save(path: Path, known: Mapping[str, Keypoints | str]) -> None:
    """Keep a chunk; one with a refused image is not kept, for the reason may pass."""
    keypoints = [each for each in known.values() if isinstance(each, Keypoints)]
    if len(keypoints) < len(known):
        return
    try:
        with files.written_aside(path) as aside:
            np.savez(
                aside,
                digests=np.array([*known]),
                counts=np.array([len(each) for each in keypoints]),
                areas=np.array([each.area for each in keypoints]),
                points=np.concatenate([each.points for each in keypoints]),
                descriptors=np.concatenate([each.descriptors for each in keypoints]),
            )
    except OSError:  # a full disk costs the next audit time, and this one nothing
        return


def _load(path: Path, chunk: list[str]) -> dict[str, Keypoints | str] | None:
    try:
        # numpy stops where an array ends, which may be before the checksum is compared.
        with zipfile.ZipFile(path) as whole:
            if whole.testzip() is not None:
                return None
        with np.load(path, allow_pickle=False) as kept:
            if kept["digests"].tolist() != chunk:
                return None
            ends = np.cumsum(kept["counts"])[:-1]
            points = np.split(kept["points"], ends)
            descriptors = np.split(kept["descriptors"], ends)
            return {
                digest: Keypoints(points[at], descriptors[at], int(kept["areas"][at]))
                for at, digest in enumerate(chunk)
            }
    except Exception:  # of a damaged file numpy and zipfile make nearly every exception there is
        return None
