"""The conformance kit: what a plugin's author and `wbczoo plugin check` ask of a part alike.

Each `check_*` takes a spec, of a data set its root besides; it returns, or raises `CheckFailed`
with a sentence, or `NotApplicable`. torch is imported when a check needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from wbczoo.specs import BackboneSpec, BaselineSpec, DatasetSpec, SequenceSpec, Spec
from wbczoo.testing.backbones import check_frozen, check_last_block, check_preprocessing
from wbczoo.testing.baselines import (
    check_baseline_rows_alone,
    check_baseline_seed,
    check_probabilities,
)
from wbczoo.testing.datasets import (
    check_files,
    check_labels,
    check_samples,
    check_splits,
    check_unit,
)
from wbczoo.testing.declarations import check_declaration, check_loads_quietly
from wbczoo.testing.modules import (
    check_batches,
    check_builds,
    check_finite,
    check_num_features,
    check_onnx,
    check_parameters_used,
    check_rows_alone,
    check_seed,
    check_state_dict,
)
from wbczoo.testing.pretrained import check_pretrained
from wbczoo.testing.sequences import check_order
from wbczoo.testing.subject import CheckFailed, NotApplicable

if TYPE_CHECKING:
    import pytest

__all__ = [
    "CheckFailed", "NotApplicable", "check_baseline_rows_alone", "check_baseline_seed",
    "check_batches", "check_builds", "check_declaration", "check_files", "check_finite",
    "check_frozen", "check_labels", "check_last_block", "check_loads_quietly",
    "check_num_features", "check_onnx", "check_order", "check_parameters_used",
    "check_preprocessing", "check_pretrained", "check_probabilities", "check_rows_alone",
    "check_samples", "check_seed", "check_splits", "check_state_dict", "check_unit", "checks_of",
    "parametrize_with_checks",
]  # fmt: skip

Check = Callable[..., None]

_ANY: tuple[Check, ...] = (check_loads_quietly, check_declaration)
_MODULES: tuple[Check, ...] = (
    check_builds,
    check_num_features,
    check_batches,
    check_rows_alone,
    check_finite,
    check_parameters_used,
    check_state_dict,
    check_seed,
)
CHECKS: dict[type[Spec], tuple[Check, ...]] = {
    BackboneSpec: (
        *_ANY, *_MODULES, check_last_block, check_frozen, check_preprocessing, check_pretrained,
        check_onnx,
    ),
    SequenceSpec: (*_ANY, *_MODULES, check_order, check_onnx),
    DatasetSpec: (*_ANY, check_samples, check_labels, check_files, check_unit, check_splits),
    BaselineSpec: (*_ANY, check_probabilities, check_baseline_seed, check_baseline_rows_alone),
}  # fmt: skip


def checks_of(spec: Spec) -> tuple[Check, ...]:
    """The checks of a spec's kind, in the order in which they are run.

    Raises:
        TypeError: if it is no spec.
    """
    for kind, checks in CHECKS.items():
        if isinstance(spec, kind):
            return checks
    raise TypeError(f"{spec!r} is no spec of wbczoo.specs.")


def parametrize_with_checks(
    specs: Sequence[Spec], *, data: Path | str | None = None
) -> pytest.MarkDecorator:
    """A pytest decorator that gives a test every check of every spec, as `spec` and `check`.

    Args:
        specs: what the plugin declares.
        data: the root of a data set, where the plugin cannot make one by itself.

    Example::

        @parametrize_with_checks([MYNET])
        def test_conformance(spec, check):
            check(spec)
    """
    import pytest

    return pytest.mark.parametrize(
        ("spec", "check"),
        [
            pytest.param(spec, bound(spec, check, data), id=f"{spec.name}-{check.__name__}")
            for spec in specs
            for check in checks_of(spec)
        ],
    )


def bound(spec: Spec, check: Check, data: Path | str | None) -> Check:
    """The check with its data set's root, where it has one to take."""
    if isinstance(spec, DatasetSpec) and data is not None and check not in _ANY:
        return partial(check, root=Path(data))
    return check
