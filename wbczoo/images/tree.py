"""A data set's files, below a folder or within a zip file, listed and read through one door."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from wbczoo.errors import ImageRefused, UsageError, WbczooError
from wbczoo.images.archives.members import Member, leads_out
from wbczoo.images.archives.zips import Zip
from wbczoo.images.file import is_image, read_file
from wbczoo.images.walk import list_files


class Tree:
    """The files below a folder or within a zip file; read safely from several threads.

    Attributes:
        root: the folder or zip file.
        links: kind of link -> how many were not followed.

    Raises:
        UsageError: if `root` is not there, or is neither a folder nor a zip file.
        WbczooError: if it cannot be read, or a zip file's names lead out of it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.links: Counter[str] = Counter()
        self._members: dict[str, Member] | None = None
        if not root.exists():
            raise UsageError(f"{root} is not there; give the folder or the zip file of the data.")
        if not root.is_dir():
            if not root.is_file() or not zipfile.is_zipfile(root):
                raise UsageError(
                    f"{root} is neither a folder nor a zip file that can be read. A data set is "
                    "read in any order, which other archives do not allow: unpack them."
                )
            self._members = {member.name: member for member in Zip(str(root))}
            _refuse_strange(root, self._members)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The files' names, sorted: relative to a folder, with `/`; the members' own of a zip.

        Clutter is left out: hidden files, and what systems add (`__MACOSX`).

        Raises:
            WbczooError: if a folder cannot be read, or a name is no UTF-8.
        """
        if self._members is not None:
            return tuple(sorted(self._members))
        names = list_files(self.root, self.links)
        for name in names:
            try:
                name.encode()
            except UnicodeEncodeError:
                raw = name.encode(errors="surrogateescape")
                raise WbczooError(f"The file name {raw!r} is no UTF-8; rename it.") from None
        return tuple(names)

    def images(self) -> list[str]:
        """Those of `names` whose suffix is an image's."""
        return [name for name in self.names if is_image(name)]

    def read(self, name: str) -> bytes:
        """The bytes of one file; ImageRefused says why there are none."""
        if self._members is None:
            return read_file(self.root / name)
        if name not in self._members:
            raise ImageRefused("The file is not there.")
        return self._members[name].read()


class Trees:
    """Several trees as one: a file's name begins with that of its tree, and a slash.

    Attributes:
        root: theirs, to be said in a sentence; no path of any file.
    """

    def __init__(self, trees: Mapping[str, Tree | Trees]) -> None:
        self.root: Path = Path(", ".join(str(tree.root) for tree in trees.values()))
        self._trees = trees

    def read(self, name: str) -> bytes:
        """The bytes of one file; ImageRefused says why there are none."""
        tree, _, within = name.partition("/")
        return self._trees[tree].read(within)


def _refuse_strange(root: Path, members: dict[str, Member]) -> None:
    for name, member in members.items():
        if member.broken:
            raise WbczooError(f"{root}: {member.broken}")
        if leads_out(name):
            raise WbczooError(
                f"{root} holds the name {name!r}, which leads outside the archive; no honest data "
                "set does. Nothing of it was read: fetch it again, or pack it without such names."
            )
        if "\\" in name:
            raise WbczooError(
                f"{root} has backslashes in its names ({name!r}), which are no folders here. "
                "Unpack it and pack it again, or give the folder."
            )
