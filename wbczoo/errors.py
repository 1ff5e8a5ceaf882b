"""The failures that a user is told about: each is a sentence and knows its exit code."""


class WbczooError(Exception):
    """Something failed; the message is a sentence that says what, where and what to do."""

    exit_code = 1


class UsageError(WbczooError):
    """What was asked for cannot be: an unknown part, a refused pair, a path that is not there."""

    exit_code = 2


class ImageRefused(WbczooError):  # noqa: N818 - a verdict on an image, no fault of the program
    """One image that no model may be asked about; the message is the reason."""


class BoundMissed(WbczooError):  # noqa: N818 - what was measured, no fault of the program
    """What was measured does not keep the bound that was promised; the message has both."""

    exit_code = 3
