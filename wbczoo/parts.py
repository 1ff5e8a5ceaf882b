"""Which part of a plugin is used, with which options: named, validated, and kept as JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, TypeAdapter, ValidationError

from wbczoo import files
from wbczoo.errors import UsageError
from wbczoo.specs import Option


class Strict(BaseModel):
    """What is kept as JSON: frozen, with the fields that it declares and no others."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Part(Strict):
    """A plugin's part as it was used: what was selected, from where, with which options."""

    name: str
    distribution: str = ""
    version: str = ""
    options: dict[str, Option] = Field(default_factory=dict)
    _places: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def given(self) -> dict[str, Option]:
        """The options with the paths of files as they were given, on the machine where that was."""
        return {**self.options, **self._places}

    def settled(self, found: Mapping[str, Option]) -> Self:
        """The same with what the part found out when it was built, by which it is built again."""
        return self.model_copy(update={"options": {**self.options, **found}})

    def without_paths(self) -> Self:
        """The same; an option that is a file's path becomes the file's name and SHA-256.

        No path of a machine is then written into a run, a card or a model, and a run goes on
        wherever its table lies.
        """
        found = {n: v for n, v in self.options.items() if isinstance(v, str) and Path(v).name}
        found = {name: path for name, path in found.items() if os.path.isfile(path)}  # noqa: PTH113 - false of what no path can be
        if not found:
            return self
        named = {n: f"{Path(p).name} sha256:{files.sha256_of(Path(p))}" for n, p in found.items()}
        part = self.model_copy(update={"options": {**self.options, **named}})
        part._places = {**self._places, **found}
        return part

    @classmethod
    def of(cls, entry: Any, options: Mapping[str, object] | None = None) -> Self:
        """A registry's entry with its declared options, and those that a user gave.

        An option that was added later stands there only where it is not what it was formerly: so
        what is the same is written alike, whenever it was made.

        Args:
            entry: what `Registry.find` returns.
            options: name -> value, of the default's type or its text; the defaults for the rest.

        Raises:
            UsageError: for an option that the part does not declare, or of another type.
        """
        values = choose_options(options or {}, dict(entry.spec.options), repr(entry.name))
        formerly = entry.spec.formerly
        values = {n: v for n, v in values.items() if n not in formerly or v != formerly[n]}
        return cls(
            name=entry.name,
            distribution=entry.distribution,
            version=entry.version,
            options=values,
        )

    @property
    def files_to_name(self) -> list[str]:
        """Options that were a file's path on the machine where they were given, and are none here.

        A config keeps the file's name and SHA-256; who uses it elsewhere must name the file again.
        """
        return [name for name, value in self.given.items() if " sha256:" in str(value)]

    @property
    def selector(self) -> str:
        """The name that finds the part again, even where two distributions share it."""
        return f"{self.distribution}:{self.name}" if self.distribution else self.name


_KINDS = {bool: "true or false", int: "a whole number", float: "a finite number", str: "a text"}


def choose_options(
    given: Mapping[str, object], defaults: Mapping[str, Option], whose: str = "this part"
) -> dict[str, Option]:
    """What a user gave over a part's declared defaults, each of its default's type.

    Args:
        given: name -> value; text is read as the default's type, for a command line has no other.
        whose: they are, for the sentence.

    Raises:
        UsageError: for an option that the part does not declare, or a value that is not of the
            default's type.
    """
    options = dict(defaults)
    for name, value in given.items():
        if name not in defaults:
            known = ", ".join(defaults) or "none"
            raise UsageError(f"{name!r} is no option of {whose}; it has {known}.")
        default = defaults[name]
        kind: type = str if default is None else type(default)
        if value is None and default is None:
            continue
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        adapter: TypeAdapter[Option] = TypeAdapter(kind, config=Strict.model_config)
        try:
            if isinstance(value, str):
                options[name] = adapter.validate_strings(value)
            else:
                options[name] = adapter.validate_python(value, strict=True)
        except ValidationError:
            usual = "" if default is None else f", as its default {default!r} is"
            raise UsageError(
                f"The option {name}={value} of {whose} takes {_KINDS[kind]}{usual}."
            ) from None
    return options


def describe_findings(error: ValidationError) -> str:
    """Pydantic's findings as sentences, without its addresses."""
    sentences = []
    for finding in error.errors(include_url=False):
        field = ".".join(str(step) for step in finding["loc"]) or "the value"
        reason = finding["msg"].removeprefix("Value error, ")
        sentences.append(f"{field}: {reason[:1].lower()}{reason[1:]}.")
    return " ".join(sentences)
