"""Batches of images are answered by the workers of a Ray cluster, and come back in order.

Ray starts the workers where there is room, and starts one anew, with the batch that it had, when
its process or its machine dies. Batches are those that one machine would have computed.
"""

from __future__ import annotations

import logging
import os
import queue
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from wbczoo.errors import ImageRefused, UsageError, WbczooError
from wbczoo.images.archives.members import Bytes, Member, Refusal
from wbczoo.images.archives.remote import Fetched
from wbczoo.images.walk import Found
from wbczoo.machine import how_to_install
from wbczoo.runtime.batches import HERE, ahead
from wbczoo.runtime.cells import Cells
from wbczoo.runtime.devices import CPU
from wbczoo.runtime.predict import predict_paths
from wbczoo.runtime.rows import Row
from wbczoo.runtime.session import Session
from wbczoo.text import one_line

Compute = Callable[[Iterable[Found]], Iterator[Row]]

_WAITING = 2  # batches for each worker: one is computed, one is on its way


class _Worker:
    """What runs in a worker's process: a model that was opened there."""

    def __init__(self, session: Session, batch_size: int, cells: Cells | None) -> None:
        self._session, self._batch_size, self._cells = session, batch_size, cells

    def answer(self, images: list[Found]) -> list[Row]:
        return [
            *predict_paths(
                self._session, images, batch_size=self._batch_size, workers=1, cells=self._cells
            )
        ]


@contextmanager
def on_cluster(
    address: str, session: Session, *, batch_size: int, cells: Cells | None = None
) -> Iterator[Compute]:
    """Yield what answers images on a cluster, as `predict_paths` does on one machine.

    Each processor of the cluster gets a worker, or each graphics card if the session computes on
    one. At most two batches for each worker are under way.

    Args:
        address: of a Ray cluster, or `HERE`.
        session: of one thread; the workers open its model by the same path, and read images by
            the same paths or URLs. What stands in archives is sent to them.
        cells: as `Session.answers` takes it.

    Raises:
        UsageError: if Ray is not installed.
        WbczooError: if the cluster cannot be reached or has no room, or a worker cannot answer.
    """
    ray = _open_ray(address)
    try:
        cards = session.provider != CPU
        count = int(ray.cluster_resources().get("GPU" if cards else "CPU", 0))
        if not count:
            raise WbczooError(f"The cluster has no {'graphics card' if cards else 'processor'}.")
        needs = {"num_gpus": 1} if cards else {"num_cpus": 1}
        start = ray.remote(max_restarts=-1, max_task_retries=-1, **needs)(_Worker)
        workers = [start.remote(session, batch_size, cells) for _ in range(count)]
        idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for worker in workers * _WAITING:
            idle.put(worker)

        def answer(images: list[Found]) -> list[Row]:
            worker = idle.get()
            try:
                return list(ray.get(worker.answer.remote(images)))
            except ray.exceptions.RayTaskError as error:
                cause = error.cause
                if isinstance(cause, WbczooError):
                    raise cause from None
                raise WbczooError(f"A worker failed: {one_line(cause or error)}.") from None
            except ray.exceptions.RayError as error:
                raise WbczooError(
                    f"No worker of the cluster can answer: {one_line(error)}. Each opens "
                    f"{session.path} and needs this version of wbczoo."
                ) from None
            finally:
                idle.put(worker)

        def compute(images: Iterable[Found]) -> Iterator[Row]:
            coming = map(_carried, images)
            batches = iter(lambda: [*islice(coming, batch_size)], [])
            many = count * _WAITING
            for rows in ahead(batches, answer, workers=many, window=many + 1):
                yield from rows

        yield compute
    finally:
        ray.shutdown()


def _carried(image: Found) -> Found:
    """An image as it is sent to a worker: by its name, or with its bytes if it has none there."""
    if not isinstance(image, Member) or isinstance(image.contents, Fetched | Bytes | Refusal):
        return image
    try:
        contents: Bytes | Refusal = Bytes(image.read())
    except ImageRefused as refused:
        contents = Refusal(str(refused))
    return Member(image.path, image.name, contents, broken=image.broken)


def _open_ray(address: str) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell its makers
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise UsageError(
            f"--ray needs Ray, which is not installed: {how_to_install('ray')}."
        ) from None
    try:
        ray.init(
            None if address == HERE else address, log_to_driver=False, logging_level=logging.ERROR,
            include_dashboard=None if address != HERE or "RAY_ADDRESS" in os.environ else False,
        )  # fmt: skip
    except Exception as error:  # Ray's own share no base with those of its parts
        raise WbczooError(f"The cluster cannot be reached: {one_line(error)}.") from None
    return ray
