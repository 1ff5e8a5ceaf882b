"""What laboratories write on a cell's folder becomes a class of a shipped task here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from wbczoo.tasks import ANY, NUCLEUS_OF, SHIPPED, fold

# Only names that mean one class wherever they are written. A stage or a variant (band,
# reactive, blast) is its owner's to place: it is left out and counted unless its
# owner has a task with a class of that name.
_NAMES = {
    "basophil": "bas baso ba basophilic_granulocyte",
    "eosinophil": "eos eosino eo eosinophilic_granulocyte",
    "erythroblast": "ebo nrbc normoblast nucleated_red_blood_cell",
    "immature_granulocyte": "ig",
    "lymphocyte": "lym lymph lymphos lyt",
    "monocyte": "mon mono",
    "neutrophil": "neu neut neutro neutrophilic_granulocyte segmented_neutrophil ngs",
    "platelet": "plt thrombocyte",
}
_CLASS_OF = {name: cell for cell, more in _NAMES.items() for name in (cell, *more.split())}


class FoldedLabels(Mapping[str, str]):
    """Raw label -> class, where case, plural, and what stands between words do not matter.

    `Eosinophils`, `EOSINOPHIL` and `eos` find the same class, and so do `immature granulocyte`
    and `Immature-Granulocytes`. Iteration gives the names in their folded form.
    """

    def __init__(self, classes: Mapping[str, str]) -> None:
        self._classes = dict(classes)

    def __getitem__(self, raw: str) -> str:
        name = fold(raw)
        return self._classes[name if name in self._classes else name.removesuffix("s")]

    def __iter__(self) -> Iterator[str]:
        return iter(self._classes)

    def __len__(self) -> int:
        return len(self._classes)


def _labels_of(task: str) -> FoldedLabels:
    classes = SHIPPED[task].classes
    if task == "nucleus":
        named = {name: NUCLEUS_OF[cell] for name, cell in _CLASS_OF.items() if cell in NUCLEUS_OF}
        return FoldedLabels(named | {nucleus: nucleus for nucleus in classes})
    return FoldedLabels({name: cell for name, cell in _CLASS_OF.items() if cell in classes})


CELLS = FoldedLabels(_CLASS_OF)
LABELS: Mapping[str, Mapping[str, str]] = {
    **{task: _labels_of(task) for task in SHIPPED},
    ANY: CELLS,
}
