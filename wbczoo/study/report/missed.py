"""The photographs that every model gets wrong are found here, and their images where wanted."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from wbczoo import images, registry
from wbczoo.errors import ImageRefused, WbczooError
from wbczoo.images.tree import Tree
from wbczoo.study.report.series import Series
from wbczoo.study.run.row import answers_of

_SIDE = 160  # pixels of a thumbnail's longer side


def find_missed(shown: Sequence[Series], task: str) -> tuple[list[tuple[str, str]], int]:
    """The photographs of which every model answers most files wrong, over all its seeds.

    A model that knows the classes' shares alone (`majority`), or whose backbone learned nothing,
    says nothing of a photograph and is left out.

    Args:
        shown: done series of one protocol.

    Returns:
        photographs with their labels, sorted; and how many models were asked.
    """
    asked = [one for one in shown if one.baseline != "majority" and not _unlearned(one)]
    wrong: list[set[tuple[str, str]]] = []
    for one in asked:
        right: Counter[tuple[str, str]] = Counter()
        files: Counter[tuple[str, str]] = Counter()
        for row in one.rows.values():
            for answer in answers_of(row, task):
                name = (answer.photograph, answer.label)
                right[name] += answer.counts[answer.truth]
                files[name] += sum(answer.counts)
        wrong.append({name for name, count in files.items() if 2 * right[name] < count})
    missed = set.intersection(*wrong) if wrong else set()
    return sorted(missed, key=_natural), len(asked)


def make_thumbnails(
    one: Series, names: Sequence[str], data: Mapping[str, Path]
) -> dict[str, bytes | None]:
    """A small JPEG of each photograph; None where no file of it can be read.

    Args:
        one: a series whose test has them.
        names: of photographs.
        data: data set -> folder or zip file.

    Raises:
        UsageError, WbczooError: if the data are not there, or are broken.
    """
    tested = one.trial.tested
    if tested.name not in data:
        return dict.fromkeys(names)
    root, spec = data[tested.name], registry.datasets.spec(tested.name)
    source = Tree(root)
    paths: dict[str, str] = {}
    for sample in spec.samples(root, **{**spec.options, **tested.given}):
        name = sample.photograph or sample.group or ""
        # The photograph itself rather than a view of it.
        if name not in paths or sample.part == "photographs":
            paths[name] = sample.path
    # Where several data sets are read together, each photograph is named with its own.
    prefix = f"{one.trial.train.hold_out}/"
    return {name: _shrink(source, paths.get(name.removeprefix(prefix))) for name in names}


def _shrink(source: Tree, path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        image = Image.fromarray(images.decode(source.read(path)))
    except (ImageRefused, WbczooError):
        return None
    image.thumbnail((_SIDE, _SIDE))
    stream = io.BytesIO()
    image.save(stream, format="JPEG", quality=80)
    return stream.getvalue()


def _unlearned(one: Series) -> bool:
    network = one.network
    if network is None or network.backbone == "none":
        return False
    return network.weights == "none" and network.train.trainable == "head"


def _natural(missed: tuple[str, str]) -> list[tuple[int, str]]:
    """Numbers in a name count as numbers, so that 39 comes before 110."""
    parts = re.split(r"(\d+)", " ".join(missed))
    return [(int(part) if part.isdigit() else 0, part) for part in parts]
