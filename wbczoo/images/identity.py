"""An image that is named twice, or lies in two places, is known by its bytes here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from wbczoo.errors import ImageRefused
from wbczoo.images.archives.members import Bytes, Member
from wbczoo.images.file import read_file
from wbczoo.images.walk import Found


class Distinct:
    """Images, each content once in a group; what is left out is known after the iteration.

    Args:
        images: of archives they come with their bytes, for those are cheap to read but once.
        group_of: a path -> the name of its group.

    Attributes:
        repeated: group -> `path = earlier path`, for each image that was left out.
        shared: `path = path` of each image that stands in another group, too, and was kept.
    """

    def __init__(self, images: Iterable[Found], group_of: Callable[[str], str]) -> None:
        self._images = images
        self._group_of = group_of
        self.repeated: dict[str, list[str]] = {}
        self.shared: list[str] = []

    def __iter__(self) -> Iterator[Found]:
        met: dict[str, dict[str, str]] = {}  # content -> group -> path
        for found in self._images:
            image, path = found, str(found)
            group = self._group_of(path)
            try:
                if isinstance(image, Member):
                    content = image.read()
                    image = replace(image, contents=Bytes(content))
                else:
                    content = read_file(Path(image))
                key = hashlib.sha256(content).hexdigest() if content else path
            except ImageRefused:  # in its own words, when its turn comes
                key = path
            places = met.setdefault(key, {})
            if group in places:
                self.repeated.setdefault(group, []).append(f"{path} = {places[group]}")
                continue
            if places:
                self.shared.append(f"{path} = {next(iter(places.values()))}")
            places[group] = path
            yield image
