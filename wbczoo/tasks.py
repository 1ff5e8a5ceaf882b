"""Tasks: a name and its ordered classes, and the ones that ship."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from unicodedata import combining, normalize

from wbczoo.errors import UsageError

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_COLUMNS = ("path", "error", "novelty", "flags")
# A plural's s: no word ends in it that is short, or ends as `mass`, `virus` and `mitosis` do.
_PLURAL = re.compile(r"(?<=[a-z]{2}[a-hj-rtv-z])s$")

OWN = "own"


@dataclass(frozen=True)
class Task:
    """One question that a model answers about a cell.

    Args:
        name: lower-case identifier; ONNX outputs are named after it.
        classes: at least two distinct lower-case names; their order is the order of the logits.
            `own` alone stands for all classes that the data have, until these are read.

    Raises:
        UsageError: if the name or the classes are not of that form.
    """

    name: str
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        for word in (self.name, *self.classes):
            if not _NAME.fullmatch(word):
                raise UsageError(
                    f"The task {self.name!r} has the name {word!r}; names are lower-case letters, "
                    "digits and underscores, and start with a letter."
                )
        # `predict --format csv` has these columns already.
        if self.name in _COLUMNS or "probability" in self.classes:
            raise UsageError(
                f"The task {self.name!r} cannot be told apart in a table: no task may be called "
                f"{' or '.join(_COLUMNS)}, and no class probability."
            )
        if self.takes_all:
            return
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise UsageError(
                f"The task {self.name!r} needs at least two different classes, "
                f"but it has {', '.join(self.classes) or 'none'}."
            )

    @property
    def takes_all(self) -> bool:
        """Whether its classes are those that the data have, which nobody has read yet."""
        return self.classes == (OWN,)


CELL = Task("cell", ("eosinophil", "lymphocyte", "monocyte", "neutrophil"))
NUCLEUS = Task("nucleus", ("mononuclear", "polynuclear"))
CELL5 = Task("cell5", ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil"))
PBC8 = Task(
    "pbc8",
    (
        "basophil",
        "eosinophil",
        "erythroblast",
        "immature_granulocyte",
        "lymphocyte",
        "monocyte",
        "neutrophil",
        "platelet",
    ),
)
# What a slide shows, beside the five kinds of a healthy person's blood.
LEUKOCYTE = Task(
    "leukocyte",
    (
        *CELL5.classes,
        "immature_granulocyte",
        "blast",
        "erythroblast",
        "platelet",
        "not_a_cell",
    ),
)

SHIPPED: Mapping[str, Task] = {task.name: task for task in (CELL, NUCLEUS, CELL5, PBC8, LEUKOCYTE)}
ANY = "*"  # among a data set's tables: the one for tasks that have none
DEFAULT: tuple[Task, ...] = (CELL, NUCLEUS)

# Gür and Kaya 2020, section 1: the nucleus type is a function of the cell type.
NUCLEUS_OF: Mapping[str, str] = {
    "eosinophil": "polynuclear",
    "neutrophil": "polynuclear",
    "lymphocyte": "mononuclear",
    "monocyte": "mononuclear",
}


def parse(texts: Sequence[str | Task]) -> tuple[Task, ...]:
    """Turn what `--task` was given into tasks: a shipped name, or `name=class,class,...`.

    `own`, or `name=own`, is a task of all classes that the data have. Capitals do not count, and
    a class may be written as the data do: `EOS` is `eos`, `Band Cell` is `band_cell`.

    Returns the default pair for an empty sequence; what is a task already stays so.

    Raises:
        UsageError: for an unknown name, a name given twice, or classes that are no classes.
    """
    if not texts:
        return DEFAULT
    tasks = []
    for text in texts:
        if isinstance(text, Task):
            tasks.append(text)
            continue
        said, equals, classes = text.partition("=")
        name = said.strip().lower()
        if equals:
            tasks.append(Task(name, tuple(map(_named, classes.split(",")))))
        elif name in SHIPPED:
            tasks.append(SHIPPED[name])
        elif name == OWN:
            tasks.append(Task(OWN, (OWN,)))
        else:
            raise UsageError(
                f"There is no task {said!r}. Shipped are {', '.join(SHIPPED)}; write `own` for all "
                "classes that your data have, or NAME=CLASS,CLASS for some of them."
            )
    names = [task.name for task in tasks]
    if len(set(names)) != len(names):
        raise UsageError(f"A task was given twice: {', '.join(names)}. Name each once.")
    return tuple(tasks)


def _named(said: str) -> str:
    """A class as it was typed, or as a label that names it where that is no name."""
    return said if _NAME.fullmatch(said := said.strip()) else class_named(said) or said


def class_of(task: Task, raw: str, labels: Mapping[str, Mapping[str, str]]) -> str | None:
    """The class of a raw label in a task, or None where the task leaves the label out.

    A data set's own table (`labels[task.name][raw]`) decides first. A label that it does not have
    is the class that it equals but for case, plural, and what stands between words (`Band
    Neutrophils` is `band_neutrophil`). A task without a table then takes the name that the table
    `*` has, where the data set declares one, or the class that `own` makes of it. What a table
    says beyond a task's classes is left out.
    """
    if (named := labels.get(task.name, {}).get(raw)) is not None:
        return named if named in task.classes else None
    name = fold(raw)
    names = [name, name.removesuffix("s")]
    if task.name not in labels:
        names += [labels.get(ANY, {}).get(raw, name), class_named(raw)]
    return next((each for each in names if each in task.classes), None)


def class_named(raw: str) -> str:
    """The class that a raw label names by itself: folded, without accents, in the singular.

    `Band Neutrophils` is `band_neutrophil`, and `3`, since no name begins with a digit, `class_3`.
    It is "" for a label that makes no name of Latin letters.
    """
    plain = "".join(sign for sign in normalize("NFKD", raw) if not combining(sign))
    name = _PLURAL.sub("", fold(plain))
    name = f"class_{name}" if name[:1].isdigit() else name
    return name if _NAME.fullmatch(name) else ""


def fold(raw: str) -> str:
    """A raw label in lower case, its words joined by underscores."""
    return re.sub(r"[\W_]+", "_", normalize("NFC", raw).casefold()).strip("_")


# What every answer of a model carries.
INTENDED = (
    "Research on the classification of single white blood cells in images of stained blood smears "
    "like those that it was trained on."
)
NOT_INTENDED = (
    "Diagnosis, or any decision about a patient. It knows only the classes above and answers one "
    "of them for whatever it is shown, also for what is no white cell. Other stains, scanners and "
    "laboratories must be measured before its answers mean anything there."
)
