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
from wbczoo.runtime.batches import BATCH, ahead
from wbczoo.runtime.devices import CPU, CUDA, TENSORRT
from wbczoo.runtime.rows import Row
from wbczoo.text import one_line

Compute = Callable[[Iterable[Found]], Iterator[Row]]

_WAITING = 2  # batches for each worker: one is computed, one is on its way


class _Worker:
    """What runs in a worker's process, with a model that was opened there if it asks one."""

    def __init__(self, compute: Compute) -> None:
        self._compute = compute

    def answer(self, images: list[Found]) -> list[Row]:
        return [*self._compute(images)]


@contextmanager
def on_cluster(
    address: str, compute: Compute, *, batch_size: int = BATCH, provider: str = CPU
) -> Iterator[Compute]:
    """Yield what makes rows of images on a cluster, as `compute` does of each batch.

    Each processor of the cluster gets a worker, or each graphics card if the provider computes on
    one. At most two batches for each worker are under way.

    Args:
        address: of a Ray cluster; if empty that of the surroundings, or a local one is started.
        compute: by one thread. Pickled for the workers, where a session of it opens its model by
            the same path; images are read by the same paths or URLs. What stands in archives is
            sent to them.

    Raises:
        UsageError: if Ray is not installed.
        WbczooError: if the cluster cannot be reached or has no room, or a worker cannot answer.
    """
    ray = _open_ray(address)
    try:
        cards = provider in (CUDA, TENSORRT)
        count = int(ray.cluster_resources().get("GPU" if cards else "CPU", 0))
        if not count:
            raise WbczooError(f"The cluster has no {'graphics card' if cards else 'processor'}.")
        needs = {"num_gpus": 1} if cards else {"num_cpus": 1}
        start = ray.remote(max_restarts=-1, max_task_retries=-1, **needs)(_Worker)
        workers = [start.remote(compute) for _ in range(count)]
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
                    f"No worker of the cluster can answer: {one_line(error)}. Each needs this "
                    "version of wbczoo, and the model at the same path as here."
                ) from None
            finally:
                idle.put(worker)

        def shared(images: Iterable[Found]) -> Iterator[Row]:
            coming = map(_carried, images)
            batches = iter(lambda: [*islice(coming, batch_size)], [])
            many = count * _WAITING
            for rows in ahead(batches, answer, workers=many, window=many + 1):
                yield from rows

        yield shared
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
            address or None, log_to_driver=False, logging_level=logging.ERROR,
            include_dashboard=None if address or "RAY_ADDRESS" in os.environ else False,
        )  # fmt: skip
    except Exception as error:  # Ray's own share no base with those of its parts
        raise WbczooError(f"The cluster cannot be reached: {one_line(error)}.") from None
    return ray
