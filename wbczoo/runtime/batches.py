"""Image sources become batches of pixels here, in order, and are answered by a few threads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar, cast

import numpy as np
from PIL import Image

from wbczoo import images
from wbczoo.errors import ImageRefused
from wbczoo.images import Pixels
from wbczoo.runtime.model_file import ModelFile

T = TypeVar("T")

Sources = images.Source | Iterable[images.Source]

# Images that the network is asked about at once, if nobody says otherwise. On a processor so few
# are fastest, for what is between two layers then stays in the caches.
BATCH = 8

# One batch is being answered while the others are decoded.
WINDOW = 3


def several(sources: Sources) -> Iterable[images.Source]:
    """Images one by one, where one alone may have been given."""
    if isinstance(sources, np.ndarray):
        one = sources.ndim < 3 or (sources.ndim == 3 and sources.shape[2] in (3, 4))
    else:
        one = isinstance(sources, str | bytes | os.PathLike | Image.Image | images.Readable)
    return cast(Iterable[images.Source], [sources] if one else sources)


def decoded(
    sources: Iterable[images.Source], file: ModelFile, *, batch_size: int, workers: int
) -> Iterator[list[Pixels | str]]:
    """Turn sources into what a model reads, in `workers` threads ahead of who takes the batches.

    At most `WINDOW * batch_size` sources are taken beyond those whose batch is done with, however
    many there are.

    Yields:
        for each `batch_size` sources in their order, and for the rest, a list of what `read` gives.
    """
    waiting: deque[Future[Pixels | str]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="wbczoo-decode")
    try:
        for source in sources:
            waiting.append(pool.submit(read, source, file))
            if len(waiting) == WINDOW * batch_size:
                yield [waiting.popleft().result() for _ in range(batch_size)]
        while waiting:
            yield [waiting.popleft().result() for _ in range(min(batch_size, len(waiting)))]
    finally:
        pool.shutdown(cancel_futures=True)


def side_by_side(
    sources: Iterable[images.Source],
    answer: Callable[[list[images.Source]], T],
    *,
    batch_size: int,
    parallel: int,
) -> Iterator[T]:
    """Answer `parallel` batches at once, each from its files to its answers by one thread.

    Where the network computes with one thread, no core waits for another one's part of an
    operator. At most `(parallel + 1) * batch_size` sources are taken beyond those that are done
    with.

    Yields:
        what `answer` gives for each `batch_size` sources in their order, and for the rest.
    """
    waiting: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(parallel, thread_name_prefix="wbczoo-answer")
    coming = iter(sources)
    try:
        while batch := list(islice(coming, batch_size)):
            waiting.append(pool.submit(answer, batch))
            if len(waiting) == parallel + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def read(source: images.Source, file: ModelFile) -> Pixels | str:
    """What a model reads of a source: uint8 (3, H, W), or (H, W, 3) where the model itself resizes;
    or the reason why the source was refused.
    """
    try:
        if file.embedded:
            return _of_size(images.decode(source), file.size)
        pixels = images.pixels(source, file.preprocessing)  # (H, W, 3)
    except ImageRefused as refusal:
        return str(refusal)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _of_size(image: Pixels, size: tuple[int, int] | None) -> Pixels:
    """The image (H, W, 3), if it has the size that the model reads."""
    if size is not None and image.shape[:2] != size:
        (height, width), (wanted_height, wanted_width) = image.shape[:2], size
        raise ImageRefused(
            f"The image has {width}x{height} pixels, and this model was exported for images of "
            f"{wanted_width}x{wanted_height}."
        )
    return image
