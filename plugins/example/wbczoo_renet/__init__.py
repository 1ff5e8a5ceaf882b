"""The sequence branch renet: recurrent sweeps over a feature map's columns and rows.

A declaration only; the module is in `sweeps`, which is imported when one is built.
"""

from __future__ import annotations

from typing import Any

from wbczoo.errors import UsageError
from wbczoo.specs import SequenceSpec, Size


def build(
    *,
    image_size: Size,
    in_channels: int | None,
    hidden: int = 64,
    layers: int = 1,
) -> Any:
    """Build the branch with random weights.

    Args:
        image_size: (H, W) in pixels; the feature map's own size is read from itself.
        in_channels: channels of the feature map.
        hidden: units in each direction of a sweep.
        layers: pairs of sweeps, one on the other.

    Raises:
        UsageError: without a feature map, or if there is no layer.
    """
    if in_channels is None:
        raise UsageError("The branch renet reads a feature map: choose a backbone.")
    if layers < 1:
        raise UsageError(f"The option layers of renet is 1 or more, not {layers}.")
    from wbczoo_renet.sweeps import ReNet

    return ReNet(in_channels, hidden, layers)


RENET = SequenceSpec(
    name="renet",
    contract=1,  # of wbczoo's contracts, the one that this was written for
    requires=("torch",),
    licence="MIT",
    reference="after Visin et al. 2015, ReNet, arXiv:1505.00393",
    options={"layers": 1},
    reads="features",
    build=build,
)
