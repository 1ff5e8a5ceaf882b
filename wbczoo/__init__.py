"""wbczoo composes white blood cell classifiers from plugins, measures and ships them.

What stands here is the Python face. Each name is imported when it is first used, so that listing
and predicting never import PyTorch.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

# Patients' images pass through here, so that what libraries would send to their makers stays off
# unless somebody turned it on. onnxruntime looks when it is loaded, so this stands before all.
for _switch in ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY"):
    os.environ.setdefault(_switch, "1")

if TYPE_CHECKING:
    from wbczoo.data.prepared import prepare_data as prepare_data
    from wbczoo.evaluation.evaluate import evaluate as evaluate
    from wbczoo.exporting.adapting.adapt import adapt as adapt
    from wbczoo.exporting.export import export as export
    from wbczoo.model.build import create_model as create_model
    from wbczoo.registry.names import list_backbones as list_backbones
    from wbczoo.registry.names import list_baselines as list_baselines
    from wbczoo.registry.names import list_datasets as list_datasets
    from wbczoo.registry.names import list_sequences as list_sequences
    from wbczoo.runtime.hub import pull as pull
    from wbczoo.runtime.hub import push as push
    from wbczoo.runtime.locate import locate as locate
    from wbczoo.runtime.predict import load as load
    from wbczoo.runtime.published import list_models as list_models
    from wbczoo.runtime.verification import verify as verify
    from wbczoo.study.compare import compare as compare
    from wbczoo.training.elsewhere import save_run as save_run
    from wbczoo.training.run import train as train

# The public names, and the modules that have them.
_PUBLIC = {
    "adapt": "exporting.adapting.adapt",
    "compare": "study.compare",
    "create_model": "model.build",
    "evaluate": "evaluation.evaluate",
    "export": "exporting.export",
    "list_backbones": "registry.names",
    "list_baselines": "registry.names",
    "list_datasets": "registry.names",
    "list_models": "runtime.published",
    "list_sequences": "registry.names",
    "load": "runtime.predict",
    "locate": "runtime.locate",
    "prepare_data": "data.prepared",
    "pull": "runtime.hub",
    "push": "runtime.hub",
    "save_run": "training.elsewhere",
    "train": "training.run",
    "verify": "runtime.verification",
}
__all__ = [*_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
