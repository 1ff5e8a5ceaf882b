"""Images of many callers wait here, and a network is asked about several of them at once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from wbczoo.images import Pixels
from wbczoo.runtime.session import Session
from wbczoo.serving.refused import overloaded

Outputs = dict[str, NDArray[np.float32]]


@dataclass(eq=False)
class _Waiting:
    session: Session
    pixels: Pixels
    since: float = field(default_factory=monotonic)
    answered: Future[Outputs] = field(default_factory=Future)

    @property
    def kind(self) -> tuple[int, tuple[int, ...]]:
        """Images of one kind are asked about together."""
        return id(self.session), self.pixels.shape


class Queue:
    """Batches are made of what waits, the oldest first; safe to use from several threads.

    Args:
        places: images that may be in hand at once, from the reading of their bytes to the answer.
        most: images of a batch.
        wait: seconds that an image waits for others to fill its batch, while such are being read.
        threads: batches that are computed at once.
        seen: is told the size of each batch.
    """

    def __init__(
        self,
        places: int,
        *,
        most: int,
        wait: float,
        threads: int,
        seen: Callable[[int], object] = int,
    ) -> None:
        self.places = places
        self.in_hand = 0
        self._most, self._wait, self._seen = most, wait, seen
        self._queue: list[_Waiting] = []
        self._coming: Counter[int] = Counter()
        self._closed = False
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._work, name=f"wbczoo-batch-{n}", daemon=True)
            for n in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def full(self) -> bool:
        """Whether not one image more would be taken."""
        return self.in_hand >= self.places

    @contextmanager
    def taken(self, images: int) -> Iterator[None]:
        """Places for so many images, until all of them are answered.

        Raises:
            Refused: if there are not so many.
        """
        with self._changed:
            if self.in_hand + images > self.places:
                raise overloaded()
            self.in_hand += images
        try:
            yield
        finally:
            with self._changed:
                self.in_hand -= images

    @contextmanager
    def coming(self, session: Session) -> Iterator[None]:
        """An image is being read, for which others of its batch may wait a moment."""
        with self._changed:
            self._coming[id(session)] += 1
        try:
            yield
        finally:
            with self._changed:
                self._coming[id(session)] -= 1
                if self._queue:
                    self._changed.notify()

    def ask(self, session: Session, pixels: Pixels) -> Future[Outputs]:
        """What `Session.run` says about one image, less the batch: a future of it or its error.

        Args:
            pixels: of one image as the graph reads it, uint8 (3, H, W) or (H, W, 3).
        """
        waiting = _Waiting(session, pixels)
        with self._changed:
            self._queue.append(waiting)
            self._changed.notify()  # one thread sees to it; each looks at the same
        return waiting.answered

    def close(self) -> None:
        """Answer what waits, and end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while batch := self._next():
            self._seen(len(batch))
            try:
                pixels = np.stack([each.pixels for each in batch])
                outputs = batch[0].session.run(pixels)
            except BaseException as error:  # whatever it is, its callers wait for it
                for each in batch:
                    each.answered.set_exception(error)
                continue
            for row, each in enumerate(batch):
                each.answered.set_result({name: values[row] for name, values in outputs.items()})

    def _next(self) -> list[_Waiting]:
        """The next batch; an empty one when all is done."""
        with self._changed:
            while True:
                if not self._queue:
                    if self._closed:
                        return []
                    self._changed.wait()
                    continue
                first = self._queue[0]
                alike = [each for each in self._queue if each.kind == first.kind][: self._most]
                left = first.since + self._wait - monotonic()
                none_to_come = not self._coming[id(first.session)] or self._closed
                if len(alike) == self._most or none_to_come or left <= 0:
                    taken = set(map(id, alike))
                    self._queue = [each for each in self._queue if id(each) not in taken]
                    if self._queue:
                        self._changed.notify()  # this thread is busy from now on
                    alive = [e for e in alike if e.answered.set_running_or_notify_cancel()]
                    if alive:
                        return alive
                else:
                    self._changed.wait(left)
