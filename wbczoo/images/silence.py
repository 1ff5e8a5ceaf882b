"""What Pillow and libtiff say to the process while they decode is kept from it here."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import threading
import warnings
from collections.abc import Iterator

from PIL import _imaging

# Pillow reports oddities of TIFF files as errors, which Python prints where nobody listens.
logging.getLogger("PIL").addHandler(logging.NullHandler())


class _Silence:
    """Pillow's warnings are ignored while any thread decodes.

    `warnings.catch_warnings` changes the whole process and may not overlap itself, so the first
    thread in enters it and the last one out leaves it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._context = contextlib.ExitStack()

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._inside == 0:
                self._context.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self._context.close()


silence = _Silence()


def hush_libtiff() -> None:
    """Stop libtiff from writing to the process's stderr; Pillow raises what it found as well."""
    with contextlib.suppress(AttributeError, OSError):  # where it is linked in, out of reach
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)
