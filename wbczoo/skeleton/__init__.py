"""A distribution's name becomes a small distribution here, with one part that already works."""

from __future__ import annotations

import datetime
import keyword
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Literal, get_args

from wbczoo.errors import UsageError
from wbczoo.registry.sandbox import locate

Kind = Literal["backbone", "sequence", "dataset", "baseline"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_HOME = "wbczoo"
_LONGEST = 64  # characters of a part's name
_DISTRIBUTION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")  # PEP 508
_SUFFIX = ".template"  # so that no tool takes a template for what it becomes

# Template -> where it goes; those of a kind go into the module.
_COMMON = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "LICENSE": "LICENSE",
    "gitignore": ".gitignore",
    "test.py": "tests/test_{part}.py",
}


@dataclass(frozen=True)
class _About:
    """What the common templates say of a kind."""

    word: str
    summary: str
    example: str


_ABOUT: Mapping[Kind, _About] = {
    "backbone": _About(
        "backbone",
        "a small residual network that turns an image into a feature map",
        "wbczoo build --backbone {part} --seq gru",
    ),
    "sequence": _About(
        "sequence branch",
        "a recurrent network that reads a feature map along a spiral, from its border to its"
        " middle",
        "wbczoo build --backbone squeezenet1_1 --seq {part}",
    ),
    "dataset": _About(
        "data set",
        "images with a table, `labels.csv`, that says what each of them shows",
        "wbczoo data prepare drawn --dataset {part}\nwbczoo data show drawn --dataset {part}",
    ),
    "baseline": _About(
        "baseline",
        "the nearest class in the distribution of colours, without a network",
        "wbczoo data prepare smears --dataset synthetic\n"
        "wbczoo study new smears --dataset synthetic --baseline {part} > plan.toml\n"
        "wbczoo study run plan.toml --out study\nwbczoo study show study",
    ),
}


@dataclass(frozen=True)
class Names:
    """What a distribution `wbczoo-mynet` is called in its places.

    Attributes:
        distribution: as it was given, `wbczoo-mynet`.
        module: `wbczoo_mynet`.
        part: `mynet`.
        constant: `MYNET`.
    """

    distribution: str
    module: str
    part: str
    constant: str


def name_plugin(distribution: str, kind: Kind) -> Names:
    """Derive a plugin's names from its distribution's.

    Raises:
        UsageError: if the name is none, if its module could not be imported or would hide
            another, or if wbczoo has a part of that name itself.
    """
    if not _DISTRIBUTION.fullmatch(distribution):
        raise UsageError(
            f"{distribution!r} is no name of a distribution. It has ASCII letters and digits, and "
            "between them dots, hyphens and underscores: wbczoo-mynet."
        )
    module = re.sub(r"[-_.]+", "_", distribution).lower()
    part = module.removeprefix(f"{_HOME}_")
    _require_importable(distribution, module)
    _require_free(distribution, module)
    if len(part) > _LONGEST:
        raise UsageError(
            f"The part's name {part!r} has {len(part)} characters, and {_LONGEST} are allowed. "
            "Choose a shorter name."
        )
    if part in _own_parts(kind):
        raise UsageError(
            f"wbczoo has a {_ABOUT[kind].word} {part!r} itself, which keeps its name: yours would "
            "be listed as its duplicate. Choose another name."
        )
    constant = part.upper()
    return Names(
        distribution, module, part, constant if constant.isidentifier() else f"PART_{constant}"
    )


def write_plugin(distribution: str, kind: Kind, out: Path) -> list[Path]:
    """Write a distribution with one working part, its test, and what it needs to be installed.

    The files are written aside and moved into place, so that `out` is whole or not there.

    Args:
        distribution: its name; `wbczoo-mynet` gives the module `wbczoo_mynet`, whose constant
            `MYNET` is the part `mynet`.
        out: a folder that is not there yet, or is empty.

    Returns:
        the paths of the files, below `out`.

    Raises:
        UsageError: if the name cannot be used (`name_plugin`), or `out` holds something.
        OSError: if the files cannot be written.
    """
    names = name_plugin(distribution, kind)
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise UsageError(f"{out} is there already and is no folder. Give --out a new folder.")
    if out.is_dir() and any(out.iterdir()):
        raise UsageError(
            f"{out} is there already and holds something. Nothing was written; give --out a new "
            "folder."
        )
    texts = dict(_fill(names, kind))
    place = out.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    try:
        new = work / "new"
        for name, text in texts.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_text(text, encoding="utf-8", newline="\n")
        if place.is_dir():
            # Into the folder, not in its place: a shell may stand in it.
            for child in sorted(new.iterdir()):
                child.rename(place / child.name)
        else:
            new.rename(place)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return [out / name for name in texts]


def _require_importable(distribution: str, module: str) -> None:
    if not module.isidentifier() or keyword.iskeyword(module):
        raise UsageError(
            f"The distribution {distribution!r} would have the module {module!r}, which Python "
            f"cannot import. Choose another name, such as wbczoo-{distribution.lower()}."
        )


def _require_free(distribution: str, module: str) -> None:
    """Refuse a module that Python would find instead of one that somebody else needs."""
    if module in sys.stdlib_module_names:
        hidden = f"Python's own module {module!r}"
    elif module in _own_modules():
        hidden = f"wbczoo's own module {module!r}"
    elif not _points_of(distribution) and (found := locate(module)) and found.origin:
        hidden = f"the module {module!r} that is installed here ({found.origin})"
    else:
        return
    raise UsageError(
        f"The distribution {distribution!r} would hide {hidden}. Choose another name, such as "
        "wbczoo-mynet."
    )


def _own_modules() -> set[str]:
    return {_HOME, *(point.module.partition(".")[0] for point in _points_of(_HOME))}


def _own_parts(kind: Kind) -> set[str]:
    return {point.name for point in _points_of(_HOME) if point.group == f"{_HOME}.{kind}s"}


def _points_of(name: str) -> list[EntryPoint]:
    """The parts that an installed distribution declares; none where it is not installed."""
    try:
        points = distribution(name).entry_points
    except PackageNotFoundError:
        return []
    return [point for point in points if point.group.startswith(f"{_HOME}.")]


def _fill(names: Names, kind: Kind) -> Iterator[tuple[str, str]]:
    """Paths below the new folder, and the texts that belong there."""
    about = _ABOUT[kind]
    values = {
        "distribution": names.distribution,
        "module": names.module,
        "part": names.part,
        "constant": names.constant,
        "group": f"{_HOME}.{kind}s",
        "word": about.word,
        "summary": about.summary,
        "example": about.example.format(part=names.part),
        "year": str(datetime.datetime.now(tz=datetime.UTC).year),
    }
    templates = files(__name__) / "templates"
    for name, place in _COMMON.items():
        text = (templates / "common" / (name + _SUFFIX)).read_text(encoding="utf-8")
        yield place.format(part=names.part), Template(text).substitute(values)
    for each in sorted((templates / kind).iterdir(), key=lambda found: found.name):
        name = each.name.removesuffix(_SUFFIX)
        yield (
            f"{names.module}/{name}",
            Template(each.read_text(encoding="utf-8")).substitute(values),
        )
