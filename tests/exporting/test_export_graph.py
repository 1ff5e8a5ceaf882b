"""What is written out for the exporter is torch's own: attention of any rank, and activations."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from wbczoo.exporting.graph import PlainFunctions

MASK = torch.tensor([[1, 0, 1, 1, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 1]]).bool()


@pytest.mark.parametrize("leading", [(2,), (2, 4), (2, 3, 4)], ids=["3-D", "4-D", "5-D"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"scale": 0.3},
        {"is_causal": True},
        {"attn_mask": MASK},
        {"attn_mask": torch.where(MASK, 0.5, -2.0)},
    ],
    ids=["plain", "scale", "causal", "mask", "bias"],
)
def test_attention_written_out_is_torchs_own(
    leading: tuple[int, ...], settings: dict[str, object]
) -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(*leading, *shape, generator=generator) for shape in ((4, 8), (5, 8), (5, 6))
    )
    expected = F.scaled_dot_product_attention(query, key, value, **settings)  # type: ignore[arg-type]
    with PlainFunctions():
        found = F.scaled_dot_product_attention(query, key, value, **settings)  # type: ignore[arg-type]
        assert torch.equal(torch.ones(2) + 1, torch.full((2,), 2.0))  # all else goes on
    torch.testing.assert_close(found, expected)


def test_grouped_queries_share_their_keys() -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 4, 3, 8, generator=generator)
    key, value = (torch.randn(2, 2, 5, 8, generator=generator) for _ in range(2))
    expected = F.scaled_dot_product_attention(query, key, value, enable_gqa=True)
    with PlainFunctions():
        found = F.scaled_dot_product_attention(query, key, value, enable_gqa=True)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("activation", [F.relu6, F.hardswish, F.silu, F.relu])
def test_no_activation_works_in_place(activation: Callable[..., torch.Tensor]) -> None:
    values = torch.linspace(-4, 8, 7)
    with PlainFunctions():
        found = activation(values, inplace=True)
    assert torch.equal(values, torch.linspace(-4, 8, 7))
    assert torch.equal(found, activation(values))
