"""What a server has done is counted here, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE

__all__ = ["CONTENT_TYPE", "Metrics"]

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counts of one server; none names an image or a caller.

    Args:
        in_hand: tells how many images are in hand.
    """

    def __init__(self, in_hand: Callable[[], int]) -> None:
        kept = self._registry = CollectorRegistry()
        self.requests = Counter(
            "wbczoo_requests", "Requests that were answered", ["route", "status"], registry=kept
        )
        self.seconds = Histogram(
            "wbczoo_request_seconds", "From a request's first byte to its answer", ["route"],
            buckets=_SECONDS, registry=kept,
        )  # fmt: skip
        self.images = Counter(
            "wbczoo_images", "Images that were answered", ["model"], registry=kept
        )
        self.refusals = Counter(
            "wbczoo_refusals", "Requests and images that were refused", ["reason"], registry=kept
        )
        self.flags = Counter("wbczoo_flags", "Flags of answers", ["model", "flag"], registry=kept)
        self.batches = Histogram(
            "wbczoo_batch_images", "Images that were computed together", buckets=_IMAGES,
            registry=kept,
        )  # fmt: skip
        Gauge("wbczoo_images_in_hand", "Images being read, waiting or computed", registry=kept
              ).set_function(in_hand)  # fmt: skip

    def text(self) -> bytes:
        """All of them, in Prometheus' format."""
        return generate_latest(self._registry)
