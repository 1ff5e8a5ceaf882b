"""The form in napari's window: a smear layer and a model go in, a layer comes out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from magicgui.widgets import FunctionGui

from napari_wbczoo.layers import answer_smear, make_layer, write_table


def make_widget() -> FunctionGui[Any]:
    """The form, which napari docks at its window's side."""
    # napari is there where this is asked for; its types tell magicgui which layers to offer.
    import napari.layers
    import napari.types
    from magicgui import magicgui

    def answer(
        smear: napari.layers.Image,
        model: str = "leukocyte-small",
        show: Literal["boxes", "points"] = "boxes",
        table: Path = Path(),
    ) -> napari.types.LayerDataTuple:
        rows = answer_smear(smear.data, model or None)
        if table.name:
            write_table(rows, table)
        data, about, kind = make_layer(rows, show, name=f"{smear.name}: {len(rows)} white cells")
        # In the place of the smear, whatever its pixels measure there.
        about |= {"scale": smear.scale[-2:], "translate": smear.translate[-2:]}
        return data, about, kind

    # magicgui reads the hints, which a local import hides from it.
    answer.__annotations__ = {
        "smear": napari.layers.Image, "model": str, "show": Literal["boxes", "points"],
        "table": Path, "return": napari.types.LayerDataTuple,
    }  # fmt: skip
    return magicgui(call_button="Answer", table={"mode": "w", "filter": "*.csv"})(answer)
