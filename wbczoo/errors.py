"""The failures that a user is told about: each is a sentence and knows its exit code."""

from __future__ import annotations

from collections.abc import Iterable

from wbczoo.text import printable


class WbczooError(Exception):
    """Something failed; the message is a sentence that says what, where and what to do."""

    exit_code = 1


class UsageError(WbczooError):
    """What was asked for cannot be: an unknown part, a refused pair, a path that is not there."""

    exit_code = 2


class NotInstalled(UsageError):  # noqa: N818 - the part is as it should be
    """A part that is known and needs something that is not installed."""


class Held(UsageError):  # noqa: N818 - what another process does, no fault of the program
    """A run's folder that another process trains in."""


class ImageRefused(WbczooError):  # noqa: N818 - a verdict on an image, no fault of the program
    """One image that no model may be asked about; the message is the reason."""


class BoundMissed(WbczooError):  # noqa: N818 - what was measured, no fault of the program
    """What was measured does not keep the bound that was promised; the message has both."""

    exit_code = 3


def some(names: Iterable[str], most: int = 3) -> str:
    """The first few names for a sentence, which no name can break, and how many more there are."""
    listed = [printable(name) for name in names]
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more if listed else "no files"
