"""Sources are read and answered here in batches, in order, by a few threads."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar, cast

import numpy as np
from PIL import Image

from wbczoo import images

S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")

Sources = images.Source | Iterable[images.Source]

# Images that the network is asked about at once, if nobody says otherwise. On a processor so few
# are fastest, for what is between two layers then stays in the caches.
BATCH = 8

# One batch is being answered while the others are decoded.
WINDOW = 3

_THREADS = "wbczoo-answer"


def several(sources: Sources) -> Iterable[images.Source]:
    """Images one by one, where one alone may have been given."""
    if isinstance(sources, np.ndarray):
        one = sources.ndim < 3 or (sources.ndim == 3 and sources.shape[2] in (3, 4))
    else:
        one = isinstance(sources, str | bytes | os.PathLike | Image.Image | images.Readable)
    return cast(Iterable[images.Source], [sources] if one else sources)


def answered(
    sources: Iterable[S],
    read: Callable[[S], list[T]],
    answer: Callable[[list[T]], list[R]],
    *,
    batch_size: int,
    workers: int,
    parallel: int,
    many: bool,
) -> Iterator[R]:
    """Read sources and answer what they show, in batches and in order, in a few threads.

    At most `WINDOW * batch_size` sources are taken beyond those that are done with; where
    `parallel` batches are answered at once, as many as these hold and one batch more.

    Args:
        read: what a source shows: one thing, or under `many` one or more. Then few sources
            wait, and batches reach across them: across `batch_size` sources, after which a batch
            begins anew, so that the company of each is known from its place alone.
        answer: an answer to each thing of a batch.
        workers: threads that read ahead of the batch that is being answered.
        parallel: batches that are answered at once.
    """
    if parallel > 1 and not many:
        # Each batch goes from its sources to its answers in one thread: where the network
        # computes with one, no core waits for another one's part of an operator.
        batches = ahead(
            _in_batches(sources, batch_size),
            lambda batch: answer([shown for source in batch for shown in read(source)]),
            workers=parallel,
            window=parallel + 1,
        )
    else:
        window = workers + 1 if many else (WINDOW - 1) * batch_size
        asked = (
            batch
            for block in _in_blocks(
                ahead(sources, read, workers=workers, window=window), batch_size
            )
            for batch in _in_batches(chain.from_iterable(block), batch_size)
        )
        if parallel > 1:
            batches = ahead(asked, answer, workers=parallel, window=parallel + 1)
        else:
            batches = map(answer, asked)
    for batch in batches:
        yield from batch


def ahead(items: Iterable[S], work: Callable[[S], T], *, workers: int, window: int) -> Iterator[T]:
    """What `work` makes of each item, in order.

    Args:
        workers: threads.
        window: items that are taken beyond those whose result was taken, at most.
    """
    waiting: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix=_THREADS)
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) == window:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # One of the pool's own threads may close this, as garbage; it cannot wait for itself.
        ours = threading.current_thread().name.startswith(_THREADS)
        pool.shutdown(wait=not ours, cancel_futures=True)


def _in_blocks(items: Iterable[T], size: int) -> Iterator[Iterator[T]]:
    """Iterators over `size` items each, and one over the rest; each is used up before the next."""
    coming = iter(items)
    for first in coming:
        yield chain([first], islice(coming, size - 1))


def _in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items each, and one of the rest."""
    coming = iter(items)
    while batch := list(islice(coming, size)):
        yield batch
