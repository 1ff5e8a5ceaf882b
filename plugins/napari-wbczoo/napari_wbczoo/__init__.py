"""White blood cells of a smear in napari, by wbczoo."""

from napari_wbczoo.layers import answer_smear, make_layer, write_table

__all__ = ["answer_smear", "make_layer", "write_table"]
