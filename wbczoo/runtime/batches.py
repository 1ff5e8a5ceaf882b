"""Image sources become batches of pixels here, in order, decoded a few batches ahead by threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from wbczoo import images
from wbczoo.errors import ImageRefused
from wbczoo.images import Pixels
from wbczoo.specs import Preprocessing

# One batch is being answered while the others are decoded.
WINDOW = 3


def decoded(
    sources: Iterable[images.Source], preprocessing: Preprocessing, *, batch_size: int, workers: int
) -> Iterator[list[Pixels | str]]:
    """Decode and preprocess sources in `workers` threads, ahead of whoever takes the batches.

    At most `WINDOW * batch_size` sources are taken beyond those whose batch is done with, however
    many there are.

    Yields:
        for each `batch_size` sources in their order, and for the rest, a list that holds for each
        its pixels, uint8 (3, H, W), or the reason why it was refused.
    """

    def read(source: images.Source) -> Pixels | str:
        try:
            pixels = images.pixels(source, preprocessing)  # (H, W, 3)
        except ImageRefused as refusal:
            return str(refusal)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))

    waiting: deque[Future[Pixels | str]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="wbczoo-decode")
    try:
        for source in sources:
            waiting.append(pool.submit(read, source))
            if len(waiting) == WINDOW * batch_size:
                yield [waiting.popleft().result() for _ in range(batch_size)]
        while waiting:
            yield [waiting.popleft().result() for _ in range(min(batch_size, len(waiting)))]
    finally:
        pool.shutdown(cancel_futures=True)
