"""Why a request is not answered, as a status, a word to count it by, and a sentence."""

from __future__ import annotations

import random

from starlette.exceptions import HTTPException

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


def of_form(reason: str, most: int) -> Refused:
    """What whoever sends a form that cannot be read is told.

    Args:
        reason: Starlette's.
        most: images of a request.
    """
    sentence = f"The form cannot be read: {reason}"
    if reason.startswith("Too many fields"):
        sentence = (
            "The form has text, and is asked for files; send them in the field images, as "
            "curl -F images=@a.jpg does."
        )
    if reason.startswith("Too many files"):
        sentence = f"A request has at most {most} images; send the others in another."
    return Refused(400, "request", sentence)


def of_place(error: HTTPException) -> Refused:
    """What whoever asks where nothing is, or by another method, is told."""
    sentence = f"{error.detail}."
    if error.status_code == 404:
        sentence = "There is no such place here; /docs tells of all that are."
    if error.status_code == 405:
        sentence = "This place is asked by another method; /docs tells which."
    refused = Refused(error.status_code, "request", sentence)
    refused.headers.update(error.headers or {})  # the methods, of 405
    return refused
