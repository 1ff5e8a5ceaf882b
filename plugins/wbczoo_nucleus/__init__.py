"""A branch that measures the nucleus and the cytoplasm, as a haematologist describes a cell.

A declaration only; the module is in `branch`, which is imported when one is built.
"""

from __future__ import annotations

from typing import Any

from wbczoo.specs import SequenceSpec, Size


def _build(*, image_size: Size, in_channels: int | None = None, hidden: int = 64) -> Any:
    from wbczoo_nucleus.branch import Measured

    return Measured(image_size, hidden)


NUCLEUS = SequenceSpec(
    name="nucleus",
    requires=("torch",),
    licence="MIT",
    reference="after Young 1972, The classification of white blood cells,"
    " doi:10.1109/TBME.1972.324072, with the threshold of Otsu 1979, the moments of Hu 1962 and"
    " the counts of Gray 1971",
    reads="colours",
    build=_build,
)
