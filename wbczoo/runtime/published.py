"""The models that come with wbczoo are found here by their names.

A checkout keeps them in `exports/`, where `published.toml` names them; the wheel brings that file
and those folders along as `wbczoo/runtime/published/`.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from wbczoo.errors import UsageError, WbczooError

LIST = "published.toml"


@dataclass(frozen=True)
class Published:
    """The models that are published.

    Attributes:
        folder: where their folders lie.
        names: of the models, the default first.
    """

    folder: Path
    names: tuple[str, ...]

    @property
    def default(self) -> Path:
        """The folder of the model that answers where nobody names one."""
        return self.folder / self.names[0]


def published() -> Published:
    """The models of this installation.

    Raises:
        WbczooError: if there are none, or what names them cannot be read.
    """
    package = Path(__file__).parent
    for folder in (package / "published", package.parents[1] / "exports"):
        if (folder / LIST).is_file():
            return Published(folder, _names(folder / LIST))
    raise WbczooError(
        "This installation of wbczoo has no published model. Name one with --model, or install "
        "wbczoo again."
    )


def find_published(name: str) -> Path:
    """The folder of a published model; UsageError with the names that there are."""
    found = published()
    if name not in found.names:
        raise UsageError(
            f"{name} is neither a path nor a published model; there is {', '.join(found.names)}."
        )
    return found.folder / name


def _names(path: Path) -> tuple[str, ...]:
    try:
        names = tomllib.loads(path.read_text(encoding="utf-8"))["models"]
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError) as error:
        raise WbczooError(f"{path} names no published models: {error}.") from None
    if not names or not all(isinstance(name, str) for name in names):
        raise WbczooError(f"{path} names no published models: `models` is {names!r}.")
    return tuple(names)
