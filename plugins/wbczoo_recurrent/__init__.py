"""Sequence branches made of recurrent layers: the report's, over pixels, and Yin's, over features.

Declarations only; the modules are in `branches`, which is imported when one is built.
"""

from __future__ import annotations

from typing import Any, Literal

from wbczoo.errors import UsageError
from wbczoo.specs import SequenceSpec, Size

_REPORT = "Gür and Kaya 2020, WBC Classification by Combining CNN & RNN, section 3"


def _two_pass(cell: Literal["LSTM", "GRU"]) -> Any:
    def build(*, image_size: Size, in_channels: int | None = None, hidden: int = 64) -> Any:
        from wbczoo_recurrent.branches import TwoPass

        return TwoPass(cell, image_size, hidden)

    return build


def _over_features(*, image_size: Size, in_channels: int | None, hidden: int = 64) -> Any:
    from wbczoo_recurrent.branches import OverFeatures

    if in_channels is None:
        raise UsageError(
            "The branch 'bilstm_features' reads a feature map, and there is no backbone to make"
            " one. Choose a backbone, or a branch that reads pixels."
        )
    return OverFeatures(in_channels, hidden)


BILSTM = SequenceSpec(
    name="bilstm",
    requires=("torch",),
    licence="MIT",
    reference=f"{_REPORT}; Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735",
    reads="pixels",
    build=_two_pass("LSTM"),
)

GRU = SequenceSpec(
    name="gru",
    requires=("torch",),
    licence="MIT",
    reference=f"{_REPORT}, with the cells of Cho et al. 2014, arXiv:1406.1078",
    reads="pixels",
    build=_two_pass("GRU"),
)

BILSTM_FEATURES = SequenceSpec(
    name="bilstm_features",
    requires=("torch",),
    licence="MIT",
    reference="after Yin, Zhang and Shao 2019: a recurrent network over the CNN's feature map",
    reads="features",
    build=_over_features,
)
