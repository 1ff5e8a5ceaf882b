"""The images that a command line names, and what the user hears of them, for every verb."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wbczoo.cli.results import stream
from wbczoo.text import format_number

if TYPE_CHECKING:
    from wbczoo.images.walk import Images
    from wbczoo.runtime.rows import Count

images_argument = click.argument("images", nargs=-1, required=True)

null_option = click.option(
    "--null",
    "-0",
    is_flag=True,
    help="With - for IMAGES: the paths on stdin end with a NUL, as find -print0 writes them.",
)

draw_option = click.option(
    "--draw",
    type=click.Path(path_type=Path),
    help="Write a picture of each image with its cells into this folder.",
)

ray_option = click.option(
    "--ray",
    "cluster",
    metavar="[ADDRESS]",
    is_flag=False,
    flag_value="",
    help="Let the workers of a Ray cluster compute; without an address, of the one at hand.",
)


def images_from(given: Sequence[str], *, null: bool) -> Images:
    """What the arguments and, for `-`, the lines of stdin mean."""
    from wbczoo.errors import UsageError
    from wbczoo.images.listed import read_list
    from wbczoo.images.walk import LIST, Images
    from wbczoo.runtime.folder import export_first

    for path in filter(os.path.isdir, given):
        if cure := export_first(Path(path)):  # else its curves would be answered as a smear
            raise UsageError(f"{cure.removesuffix('.')} as --model, and name images to answer.")
    if LIST not in given:
        if null:
            raise UsageError(f"--null speaks of a list on stdin; give {LIST} to read one.")
        return Images(given)
    if sys.stdin is None:
        raise UsageError(f"{LIST} reads paths from stdin, which is closed.")
    listing: Any = sys.stdin.buffer
    return Images(given, read_list(listing, null=null))


def watch(total: int | None, done: int = 0) -> AbstractContextManager[Callable[[int], object]]:
    """A bar for whoever sits at a terminal."""
    from wbczoo.progress import bar

    if not sys.stderr.isatty():
        return nullcontext(int)
    return bar(total, "images", done, unit="image")


def watch_rows(total: int | None) -> AbstractContextManager[Callable[[int], object]]:
    """The same while rows go to stdout; none where they are seen themselves."""
    return watch(total) if _goes_to_a_file() else nullcontext(int)


@contextmanager
def kept_if_stopped(out: Path) -> Iterator[None]:
    """Whoever stops the rows' way into a file hears how it goes on."""
    from wbczoo.progress import tell
    from wbczoo.runtime.part_file import part_of

    try:
        yield
    except KeyboardInterrupt:
        tell(f"the rows so far are kept in {part_of(out)}; --resume goes on behind them")
        raise


def tell_count(count: Count, found: Images, done: str) -> None:
    """Say on stderr how many images were refused, and what was passed over.

    Args:
        done: what became of the others, such as `answered`.
    """
    from wbczoo.images.walk import describe_passed_over
    from wbczoo.progress import tell

    if count.refused:
        others = count.images - count.refused - count.without_cell
        tell(f"{format_number(others, 'image')} {done}, {count.refused} refused")
    elif not count.images:
        tell("no path was listed on stdin")
    if count.without_cell:
        tell(f"no white cell was found in {count.without_cell} of {count.images} images")
    if found.passed_over:
        tell(describe_passed_over(found.passed_over))


def _goes_to_a_file() -> bool:
    try:
        return stat.S_ISREG(os.fstat(stream().fileno()).st_mode)
    except OSError:  # it has no file behind it
        return False
