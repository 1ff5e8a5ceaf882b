"""The conformance kit: what a plugin's author and `wbczoo plugin check` ask of a part alike.

Each `check_*` takes a spec; it returns, or raises `CheckFailed` with a sentence, or
`NotApplicable`. torch is imported when a check needs it.
"""

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
from wbczoo.testing.kit import checks_of, parametrize_with_checks
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
from wbczoo.testing.sequences import check_order
from wbczoo.testing.subject import CheckFailed, NotApplicable

__all__ = [
    "CheckFailed",
    "NotApplicable",
    "check_baseline_rows_alone",
    "check_baseline_seed",
    "check_batches",
    "check_builds",
    "check_declaration",
    "check_files",
    "check_finite",
    "check_frozen",
    "check_labels",
    "check_last_block",
    "check_loads_quietly",
    "check_num_features",
    "check_onnx",
    "check_order",
    "check_parameters_used",
    "check_preprocessing",
    "check_probabilities",
    "check_rows_alone",
    "check_samples",
    "check_seed",
    "check_splits",
    "check_state_dict",
    "check_unit",
    "checks_of",
    "parametrize_with_checks",
]
