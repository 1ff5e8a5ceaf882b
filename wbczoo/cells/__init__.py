"""White cells are found in an image of any magnification, measured and cropped."""

from wbczoo.cells.finder import Found, find
from wbczoo.cells.nucleus import Nucleus

__all__ = ["Found", "Nucleus", "find"]
