"""Numbers, durations and errors are written for a person here, one way for every page."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, floor


def format_figure(figure: Mapping[str, float | None], digits: int = 3) -> str:
    """`0.571 [0.45, 0.68]`, with so many digits of the value."""
    value, low, high = (figure[name] for name in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return "undefined"
    # Outwards, so that an interval never reads narrower than it is; 1e-9 for what is exact.
    low, high = floor(low * 100 + 1e-9) / 100, ceil(high * 100 - 1e-9) / 100
    return f"{value:.{digits}f} [{low:.2f}, {high:.2f}]"
