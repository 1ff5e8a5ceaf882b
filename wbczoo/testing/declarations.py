"""What a plugin says of itself, and what happens when it is merely loaded, is checked here."""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import re
import sys
from collections.abc import Mapping
from typing import Any

from wbczoo.process import JobError, JobProcess
from wbczoo.registry.declared import misdeclared
from wbczoo.registry.sandbox import TIME_LIMIT
from wbczoo.specs import (
    CONTRACT,
    BackboneSpec,
    BaselineSpec,
    DatasetSpec,
    SequenceSpec,
    Spec,
)
from wbczoo.testing.subject import CheckFailed, NotApplicable

# Each takes a good part of a second or more; a listing that imports one is slow for everybody.
FRAMEWORKS = {
    "cv2", "flax", "jax", "keras", "matplotlib", "onnx", "onnxruntime", "pandas", "scipy",
    "skimage", "sklearn", "tensorflow", "timm", "torch", "torchvision", "transformers",
}  # fmt: skip
SOCKET_EVENTS = ("socket.__new__", "socket.connect", "socket.getaddrinfo")  # of Python's audit
# What each kind's function is called with, beside its declared options.
CALLED_WITH: Mapping[type[Spec], tuple[str, tuple[str, ...]]] = {
    BackboneSpec: ("build", ("image_size", "pretrained")),
    SequenceSpec: ("build", ("image_size", "in_channels", "hidden")),
    DatasetSpec: ("samples", ()),
    BaselineSpec: ("build", ("seed",)),
}
_TEXTS = ("licence", "reference", "laboratory", "confounded", "url", "citation")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")


def check_loads_quietly(spec: Spec) -> None:
    """Importing the module that declares the spec imports no framework, opens no socket, and
    prints nothing, within the time that a listing allows.

    The module is imported in a process of its own.
    """
    function = inspect.unwrap(getattr(spec, CALLED_WITH[_kind(spec)][0]))
    while isinstance(function, functools.partial):
        function = inspect.unwrap(function.func)
    module = getattr(function, "__module__", None)
    if module in (None, "__main__"):
        raise NotApplicable("Its build stands in no module that could be imported.")
    job = {"module": module, "frameworks": sorted(FRAMEWORKS | _tops(spec))}
    try:
        with JobProcess("wbczoo.testing.declarations:load_module", TIME_LIMIT) as jobs:
            found = jobs.ask(job)
    except JobError as end:
        raise CheckFailed(f"Importing {module} {end}.") from None
    if found["frameworks"]:
        raise CheckFailed(
            f"Importing {module} imports {', '.join(found['frameworks'])}. Import frameworks "
            "inside `build` alone, so that `wbczoo list` stays quick."
        )
    if found["sockets"]:
        raise CheckFailed(f"Importing {module} opens a socket ({found['sockets'][0]}).")
    if found["printed"]:
        raise CheckFailed(f"Importing {module} prints {found['printed'][:60]!r}.")


def check_declaration(spec: Spec) -> None:
    """Every field of the spec has the form that the contract gives it, and its function takes
    what it will be called with.
    """
    if not isinstance(spec.name, str) or not _NAME.fullmatch(spec.name):
        raise CheckFailed(
            f"Its name is {spec.name!r}; a name is ASCII letters, digits, dots, hyphens and "
            "underscores, and starts with a letter or digit."
        )
    if spec.contract != CONTRACT:
        raise CheckFailed(f"It was made for contract {spec.contract}; this wbczoo has {CONTRACT}.")
    if not isinstance(spec.requires, tuple) or not all(isinstance(n, str) for n in spec.requires):
        raise CheckFailed(f"`requires` is {spec.requires!r}, not a tuple of import names.")
    if not isinstance(spec, DatasetSpec) and not spec.licence:
        raise CheckFailed("`licence` is empty. Name it, if only as 'proprietary': cards show it.")
    if reason := misdeclared(spec):
        raise CheckFailed(reason)
    for name in _TEXTS:
        if not isinstance(text := getattr(spec, name, ""), str):
            raise CheckFailed(f"`{name}` is {text!r}, which is no text.")
    if strange := sorted(set(spec.formerly) - set(spec.options)):
        raise CheckFailed(f"`formerly` names {strange[0]!r}, which is none of its options.")
    if isinstance(spec, BackboneSpec) and not isinstance(spec.classifier_keys, tuple):
        raise CheckFailed(f"`classifier_keys` is {spec.classifier_keys!r}, no tuple.")
    require_signature(spec)


def load_module(job: Mapping[str, Any]) -> dict[str, Any]:
    """Import a module, in a process of its own, and tell what that did beside it."""
    events: list[str] = []

    def listen(event: str, _: tuple[Any, ...]) -> None:
        if event in SOCKET_EVENTS:
            events.append(event)

    before = set(sys.modules)
    sys.addaudithook(listen)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        __import__(job["module"])
    found = {name.partition(".")[0] for name in set(sys.modules) - before}
    return {
        "frameworks": sorted(found & set(job["frameworks"])),
        "sockets": events,
        "printed": printed.getvalue(),
    }


def require_signature(spec: Spec) -> None:
    """Raise CheckFailed unless the spec's function takes what it will be called with."""
    word, names = CALLED_WITH[_kind(spec)]
    function = getattr(spec, word)
    given = dict.fromkeys((*names, *spec.options))
    try:
        signature = inspect.signature(function)
        signature.bind(*([None] if word == "samples" else []), **given)
    except (TypeError, ValueError) as error:
        raise CheckFailed(
            f"`{word}` cannot be called with {', '.join(given) or 'a root alone'}: {error}."
        ) from None


def _kind(spec: Spec) -> type[Spec]:
    return next(kind for kind in CALLED_WITH if isinstance(spec, kind))


def _tops(spec: Spec) -> set[str]:
    return {name.partition(".")[0] for name in spec.requires if isinstance(name, str)}
