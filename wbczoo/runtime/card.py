"""A card says what an export is and answers for; it is read here, for it may be anybody's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wbczoo import files
from wbczoo.errors import WbczooError
from wbczoo.runtime.folder import CARD, folder_of

# A card has some kilobytes and names four files. Beyond these it is no mistake.
CARD_BYTES = 1 << 24
CARD_FILES = 100

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Card:
    """An export's `card.json`.

    Attributes:
        document: what it says, all of it unchecked but for being JSON of format 1.
    """

    path: Path
    document: Mapping[str, Any]

    @classmethod
    def beside(cls, model: Path) -> Card | None:
        """The card of the export that a graph belongs to, None where there is none.

        Raises:
            WbczooError: if it is too large for a card, or no JSON of format 1.
        """
        return cls.read(folder_of(model) / CARD)

    @classmethod
    def read(cls, path: Path) -> Card | None:
        """A card's file; see `beside`."""
        if not path.exists():
            return None
        if path.is_file() and path.stat().st_size > CARD_BYTES:
            raise WbczooError(
                f"{path} has {path.stat().st_size} bytes, and a card at most {CARD_BYTES}. Export "
                "the run again."
            )
        return cls(path, files.read_json(path))

    @property
    def name(self) -> str:
        """The model's name; WbczooError if it names none."""
        name = self.document.get("name")
        if not isinstance(name, str):
            raise WbczooError(f"{self.path} names no model.")
        return name

    @property
    def hashes(self) -> dict[str, str]:
        """The SHA-256 of each file beside it; WbczooError if it names anything else, or none."""
        found = self.document.get("files")
        if not isinstance(found, dict):
            return {}
        if len(found) > CARD_FILES:
            raise WbczooError(f"{self.path} names {len(found)} files; no export has so many.")
        for name in found:
            if not _NAME.fullmatch(name):
                raise WbczooError(f"{self.path} names {name[:100]!a}, which is no file beside it.")
        return found

    def speaks_of(self, weights_sha256: str) -> bool:
        """Whether it is the card of a model with these weights, and not of another's."""
        return bool(self.document.get("weights_sha256") == weights_sha256)
