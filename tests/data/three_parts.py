"""A small data set of three parts like BCCD's archive, and what is known of both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wbczoo import registry
from wbczoo.data.samples import Rows, read_rows
from wbczoo.specs import DatasetSpec, Sample, Split
from wbczoo.tasks import CELL


@dataclass(frozen=True)
class Facts:
    """What a data set of three parts holds.

    Attributes:
        train, test: augmented files and their photographs in each published half.
        simple: files and photographs of the small test.
        shared: training files and photographs that are in a group with a test photograph.
        tied: the names of those groups.
        left_out: files whose label no task has.
        held: groups that validate under `official`.
        views: fewest augmented files of a photograph, on the average.
    """

    train: tuple[int, int]
    test: tuple[int, int]
    simple: tuple[int, int]
    shared: tuple[int, int]
    tied: frozenset[str]
    left_out: int
    held: int
    views: int


ARCHIVE = Facts(
    train=(9957, 277), test=(2487, 71), simple=(71, 69), shared=(216, 8),
    tied=frozenset(("204", "223", "230", "364", "365", "377")), left_out=19, held=36, views=30,
)  # fmt: skip
DRAWN = Facts(
    train=(400, 80), test=(100, 20), simple=(17, 16), shared=(15, 3),
    tied=frozenset(("pair 0", "pair 1")), left_out=3, held=12, views=4,
)  # fmt: skip


def draw_samples() -> list[Sample]:
    """A small data set like BCCD's archive: views, photographs, and a small test of some of them.

    A training eosinophil and two training neutrophils show the fields of test photographs, of
    which one is in the small test and one is not; two training lymphocytes are of one field.
    """
    groups = {
        "EOSINOPHIL 0": "pair 0", "EOSINOPHIL 20": "pair 0",
        "NEUTROPHIL 1": "pair 1", "NEUTROPHIL 2": "pair 1", "MONOCYTE 21": "pair 1",
        "LYMPHOCYTE 3": "pair 2", "LYMPHOCYTE 4": "pair 2",
    }  # fmt: skip
    samples = []
    for label in (name.upper() for name in CELL.classes):
        for number in range(25):
            name = f"{label} {number}"
            half: Split = "train" if number < 20 else "test"
            about = {"label": label, "photograph": name, "group": groups.get(name, name)}
            samples += [
                Sample(f"{name} view {view}.jpg", **about, split=half, part="augmented")
                for view in range(5)
            ]
            samples.append(Sample(f"{name}.jpg", **about, split=half, part="photographs"))
            # The small test is without the photograph that shows a training eosinophil's field.
            for copy in range((number > 20) * (2 if name == "MONOCYTE 22" else 1)):
                samples.append(
                    Sample(f"{name} {copy} small.jpg", **about, split=half, part="simple")
                )
    for number, label in enumerate(("", "BASOPHIL", "NEUTROPHIL, EOSINOPHIL")):
        samples.append(Sample(f"other {number}.jpg", label, f"other {number}", split="train"))
    return samples


def draw_rows(root: Path) -> Rows:
    """The small data set's rows, its files written below `root`: splits need no pixels."""
    samples = draw_samples()
    for sample in samples:
        (root / sample.path).write_bytes(sample.path.encode())
    labels = registry.datasets.spec("bccd").labels
    spec = DatasetSpec(name="theirs", samples=lambda _: samples, unit="photograph", labels=labels)
    return read_rows(spec, root)
