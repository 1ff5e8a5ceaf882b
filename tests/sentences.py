"""What a command tells its user, and whether that is a sentence."""

from __future__ import annotations

from collections.abc import Callable

# The command's arguments -> its exit code, stdout and stderr.
Ask = Callable[..., tuple[int, str, str]]


def is_sentence(text: str) -> bool:
    """Whether stderr ends as a user may see it: what, where, and nothing that a terminal obeys."""
    (*_, last) = text.strip().splitlines()
    return (
        last.startswith("Error: ")
        and len(last) < 2000
        and last.isprintable()
        and "Traceback" not in text
        and "fault in wbczoo" not in text
    )
