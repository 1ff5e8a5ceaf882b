"""Why a request is not answered, as a status, a word to count it by, and a sentence."""

from __future__ import annotations

import random

from wbczoo.errors import WbczooError


class Refused(WbczooError):  # noqa: N818 - a verdict on a request, no fault of the program
    """A request that is not answered.

    Args:
        status: of HTTP.
        reason: a word that refusals are counted by.
        sentence: for the caller.
        retry_after: seconds after which it may be asked again, if it may.
    """

    def __init__(
        self, status: int, reason: str, sentence: str, retry_after: int | None = None
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.reason = reason
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        if status == 408:  # what else would come of the request is no next one
            self.headers["Connection"] = "close"


def overloaded() -> Refused:
    """What whoever comes while all places are taken is told."""
    # Callers that are refused together are not to come back together.
    seconds = random.randint(1, 3)
    sentence = f"All places in the queue are taken. Ask again in {seconds} s."
    return Refused(503, "overload", sentence, retry_after=seconds)
