"""What a user names, files, folders, patterns, archives or a list, becomes a row of images."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from wbczoo.errors import UsageError, WbczooError
from wbczoo.images.archives import open_archive
from wbczoo.images.archives.members import Member
from wbczoo.images.archives.remote import Remote
from wbczoo.images.archives.tars import Tar
from wbczoo.images.archives.zips import Zip
from wbczoo.images.file import SUFFIXES, is_clutter, is_image, suffix_of
from wbczoo.images.urls import is_url
from wbczoo.text import printable

Found = str | Member

LIST = "-"  # in place of a path: the paths that somebody lists
_STARS = re.compile(r"(|.*?/)\*\*(?:/(.*))?", re.DOTALL)  # a pattern's first `**`, as a whole part


class Images:
    """The images that a user means, one after another; may be iterated again, but for a list.

    Args:
        given: files, taken whatever their suffix; archives, whose images are taken; folders,
            whose image files are taken, sorted, as `list_files` finds them; and patterns with
            `*`, `?`, `[...]` or `**` that the shell did not expand, which stand for the files,
            archives and folders that match, sorted. A name that exists is no pattern. A URL
            stands for what `Remote` finds behind it.
        listed: paths of image files to take where `-` is given. They are not looked at before
            their turn: one that is not there is refused then. If None, `-` is a name.

    Attributes:
        total: how many images there are, or None where only the end will tell.
        passed_over: suffix, or kind of link -> how many files of folders and archives were passed
            over; of a tar file once it was read to its end.

    Raises:
        UsageError: if nothing is given, a path does not exist, or a folder, an archive or a
            pattern yields no image.
        WbczooError: if a folder or an archive cannot be read.
    """

    def __init__(
        self, given: Sequence[str | os.PathLike[str]], listed: Iterable[str] | None = None
    ) -> None:
        if not given:
            raise UsageError("No image was given. Name a file, a folder or a pattern.")
        if listed is not None and list(given).count(LIST) > 1:
            raise UsageError("The list of paths can be read only once; give one -.")
        self._parts: list[Iterable[Found]] = []
        self._passed_over: Counter[str] = Counter()
        self.total: int | None = 0
        files: list[str] = []  # a part too; thousands of arguments become one
        for path in [os.fspath(each) for each in given]:
            if path == LIST and listed is not None:
                self._add(listed, None)
                continue
            for part in _expand(path, self._passed_over):
                if not isinstance(part, list):
                    self._add(part, part.total)
                elif self._parts and self._parts[-1] is files:
                    files += part
                    self.total = None if self.total is None else self.total + len(part)
                else:
                    files = [*part]
                    self._add(files, len(files))

    def __iter__(self) -> Iterator[Found]:
        for part in self._parts:
            yield from part

    @property
    def passed_over(self) -> Counter[str]:
        """What was passed over so far; see above."""
        archives = (part.passed_over for part in self._parts if isinstance(part, _Archive))
        return sum(archives, self._passed_over)

    @property
    def places(self) -> Iterator[str]:
        """The files and archives that were named or found, but for those that are listed."""
        for part in self._parts:
            if isinstance(part, list):
                yield from part
            elif isinstance(part, _Archive):
                yield part.path

    def _add(self, part: Iterable[Found], total: int | None) -> None:
        self._parts.append(part)
        self.total = None if self.total is None or total is None else self.total + total


def find_images(paths: Sequence[str | os.PathLike[str]]) -> list[Found]:
    """List the images that a user means; see `Images`.

    Returns:
        the files as they were given; a folder's with the folder as it was given before them; and
        an archive's `Member`s, whose `str` is the archive as it was given and the name inside.
    """
    return [*Images(paths)]


def _expand(path: str, passed_over: Counter[str]) -> Iterator[list[str] | _Archive]:
    """What stands for a path: lists of files, and archives."""
    if not path:
        raise UsageError("An image's name is empty. Name a file, a folder or a pattern.")
    if is_url(path):
        yield _Archive(Remote(path))
    elif Path(path).is_dir():
        found = _images_below(path, passed_over)
        if not found:
            _refuse_empty("folder", path)
        yield found
    elif Path(path).exists():
        yield _file(path)
    elif glob.has_magic(path):
        yield from _match(path, passed_over)
    else:
        raise UsageError(f"{path} is not there.")


def _match(pattern: str, passed_over: Counter[str]) -> Iterator[list[str] | _Archive]:
    # As a shell would have it, matching folders are folders that were given; with `**` a file is
    # then met more than once.
    met: set[str] = set()
    # With `**` the folders within a folder match as well, and would be counted again.
    counted = Counter[str]() if "**" in pattern else passed_over
    for match in sorted(_glob(pattern, passed_over)):
        files = _images_below(match, counted) if Path(match).is_dir() else [match]
        new = [file for file in files if file not in met]
        met.update(new)
        if Path(match).is_dir():
            yield new
        else:
            yield from (_file(file) for file in new)
    if not met:
        raise UsageError(f"The pattern {pattern} matches no image.")


def _glob(pattern: str, links: Counter[str]) -> set[str]:
    """As `glob.glob` has it, but for `**`, whose own way through links in a circle has no end."""
    cut = _STARS.fullmatch(pattern)
    if cut is None:
        return set(glob.glob(pattern))  # noqa: PTH207 - paths as given
    above, rest = cut.groups()
    found: set[str] = set()
    for start in _glob(above, links) if glob.has_magic(above) else [above]:
        for below, files in _walk(start or ".", links) if Path(start or ".").is_dir() else ():
            place = f"{start}{below}"
            if rest:
                found |= _glob(f"{glob.escape(place)}{rest}", links)
            else:
                found |= {place, *(f"{place}{name}" for name in files)} - {""}
    return found


def _file(path: str) -> list[str] | _Archive:
    # A pipe of an archive's name would never end.
    archive = open_archive(path) if Path(path).is_file() else None
    return [path] if archive is None else _Archive(archive)


def _images_below(folder: str, passed_over: Counter[str]) -> list[str]:
    names = list_files(folder, passed_over)
    passed_over += count_suffixes(names)
    # Strings, for pathlib would rewrite what was given.
    return [os.path.join(folder, name) for name in names if is_image(name)]  # noqa: PTH118


class _Archive:
    """The images of an archive."""

    def __init__(self, archive: Zip | Tar | Remote) -> None:
        self._archive = archive
        self.path = archive.path
        self.total: int | None = None
        self.passed_over: Counter[str] = Counter()
        if archive.names is not None:
            self.passed_over = count_suffixes(archive.names)
            self.total = len(archive.names) - self.passed_over.total()
        # A tar file behind a URL would be fetched for it.
        look = isinstance(archive, Tar)
        first = next(iter(self), None) if look else self.total or archive.names is None
        if not first:
            _refuse_empty("archive", archive.path)
        if isinstance(first, Member) and first.broken:
            raise WbczooError(f"{archive.path}: {first.broken}")

    def __iter__(self) -> Iterator[Member]:
        passed_over: Counter[str] = Counter()
        for member in self._archive:
            if member.broken or is_image(member.name):
                yield member
            else:
                passed_over[suffix_of(member.name)] += 1
        self.passed_over = passed_over


def list_files(folder: str | Path, links: Counter[str]) -> list[str]:
    """The files below a folder that are no clutter, relative to it, with `/`, sorted.

    Folders that are links are followed, for class folders often lie on another disk; two links to
    one folder both are. A link that leads back to a folder on the way to it is not.

    Args:
        links: is added how many links led back, and how many to nothing.

    Raises:
        WbczooError: if a folder cannot be read.
    """
    return sorted(f"{below}{name}" for below, files in _walk(folder, links) for name in files)


def _walk(folder: str | Path, links: Counter[str]) -> Iterator[tuple[str, list[str]]]:
    """Each folder below one, and itself: its name with a `/` at the end, and its files' names."""
    # A folder's place, its name, and where it and those above it really are.
    waiting: list[tuple[str, str, tuple[str, ...]]]
    waiting = [(os.fspath(folder), "", (os.path.realpath(folder),))]
    while waiting:
        place, below, way = waiting.pop()
        try:
            with os.scandir(place) as entries:
                listed = [entry for entry in entries if not is_clutter(entry.name)]
        except OSError as error:
            raise WbczooError(f"The folder {place} cannot be read: {error.strerror}.") from None
        files = []
        for entry in listed:
            if _is_folder(entry):
                real = os.path.realpath(entry.path)
                if entry.is_symlink() and any(Path(each).is_relative_to(real) for each in way):
                    links["links that lead back"] += 1
                else:
                    waiting.append((entry.path, f"{below}{entry.name}/", (*way, real)))
            elif entry.is_symlink() and not is_image(entry.name) and not Path(entry.path).exists():
                links["links to nothing"] += 1
            else:
                files.append(entry.name)
        yield below, files


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # of links in a circle
        return False


def describe_passed_over(passed_over: Mapping[str, int]) -> str:
    """`passed over, being no images: 2 .heic, 1 .txt`."""
    told = ", ".join(f"{count} {printable(kind)}" for kind, count in sorted(passed_over.items()))
    return f"passed over, being no images: {told}"


def count_suffixes(names: Iterable[str]) -> Counter[str]:
    """How many files of each suffix are no images by it."""
    return Counter(suffix_of(name) for name in names if not is_image(name))


def _refuse_empty(kind: str, path: str) -> NoReturn:
    looked_for = ", ".join(sorted(SUFFIXES))
    raise UsageError(f"The {kind} {path} holds no image; looked for {looked_for}.")
