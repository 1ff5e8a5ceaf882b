"""Fields become a table of their white cells here by a plain loop over the usual libraries.

It takes the steps of `wbczoo predict` one after the other: Pillow decodes, PyTorch computes the
finder's network and the classifier, scikit-image looks for peaks, numpy does the arithmetic. The
rules that no library has (which boxes show one cell, the ruler, the colour of chromatin) are
called where they stand, so that both sides pay the same for them.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.feature import peak_local_max
from skimage.transform import downscale_local_mean, resize
from torch.nn import functional

from wbczoo.bench.torch_graph import TorchGraph
from wbczoo.cells import network
from wbczoo.cells.crop import WHITE, WIDTHS
from wbczoo.cells.network import Marked
from wbczoo.cells.nucleus import chromatic
from wbczoo.cells.overlap import drop_dwarfs, keep_best
from wbczoo.cells.ruler import likely_width, red_cell_width, red_share
from wbczoo.runtime.rows import BOX_COLUMNS

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Box = tuple[int, int, int, int]

_STRIDE, _ALIGN = network.STRIDE, 32
_FIRST, _ENOUGH = 80_000, 20_000  # pixels: of an image that is looked at as it is, of the slide
_SMALLEST, _BLACK = 24, 16  # the last level's longer side; the shade up to which all is fill
_FAINTEST, _SURE, _NEAR = 0.1, 0.3, 0.1  # scores: of a candidate, of a cell, of equally good cells


class PlainLoop:
    """A loop over fields.

    Args:
        model: an export's ONNX file, which was trained on cells that were found.
        tasks: their classes, by name.
        crop, size: of the model's preprocessing; (H, W).
        threads: of PyTorch; its own choice if None.
        every: each cell of a field is answered, not its best one alone.
        channels_last: the layout of both networks.
        by_scikit_image: halves and resizes images by scikit-image too, not by Pillow.
    """

    def __init__(
        self,
        model: str,
        tasks: dict[str, list[str]],
        crop: str,
        size: Sequence[int],
        *,
        threads: int | None = None,
        every: bool = False,
        channels_last: bool = False,
        by_scikit_image: bool = False,
    ) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self.tasks, self._every = tasks, every
        self._finder = TorchGraph(network.NETWORK, ("heat", "reach"), channels_last=channels_last)
        names = [f"{name}_probabilities" for name in tasks]
        self._classifier = TorchGraph(Path(model), names, channels_last=channels_last)
        self._width, self._size = WIDTHS[crop], (size[0], size[1])
        self._shrink = _shrunk_by_scikit_image if by_scikit_image else _shrunk_by_pillow
        self._resize = _resized_by_scikit_image if by_scikit_image else _resized_by_pillow

    @torch.inference_mode()
    def answer_folder(self, paths: Sequence[str], batch: int, out: Path) -> None:
        """Answer image files into a CSV file, a row for each cell.

        Args:
            batch: fields whose cells the classifier is asked about at once.
        """
        with out.open("w", newline="") as stream:
            writer = csv.writer(stream)
            answers = [
                [name, *(f"{name}_{each}" for each in of)] for name, of in self.tasks.items()
            ]
            writer.writerow(["path", *BOX_COLUMNS, *chain.from_iterable(answers)])
            for start in range(0, len(paths), batch):
                found: list[tuple[str, Box]] = []
                crops = []
                for path in paths[start : start + batch]:
                    with Image.open(path) as opened:
                        image = np.asarray(opened.convert("RGB"))
                    boxes, slide = self._find(image)
                    found += [(path, box) for box in boxes]
                    crops += [self._crop(image, box, slide) for box in boxes]
                    if not boxes:
                        writer.writerow([path, *[""] * len(BOX_COLUMNS)])
                if not crops:
                    continue
                shown = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
                likely = [each.numpy() for each in self._classifier(shown)]
                for row, (path, box) in enumerate(found):
                    cells: list[Any] = [path, *box]
                    for classes, values in zip(self.tasks.values(), likely, strict=True):
                        cells += [classes[int(values[row].argmax())], *values[row].tolist()]
                    writer.writerow(cells)

    def _find(self, image: Pixels) -> tuple[list[Box], Floats]:
        """The boxes of the cells, from the top if each is wanted, and the empty slide's colour."""
        height, width = image.shape[:2]
        pyramid = self._pyramid(image)
        slide = _slide_colour(pyramid)
        seen = [(factor, _absorbed(level, slide)) for factor, level in pyramid]
        marked: tuple[list[Marked], list[Marked]] = ([], [])
        for number, (factor, light) in enumerate(seen):
            for kept, one in zip(marked, self._mark(light, factor, turned=number > 0), strict=True):
                kept.append(one)
        white, red = (_joined(some, width, height) for some in marked)
        boxes, scores = keep_best(white, [factor for factor, _ in seen])
        boxes, scores = boxes[scores >= _SURE], scores[scores >= _SURE]
        ruler = red_cell_width(red, boxes, (height, width))
        scores = scores * (1 - red_share(boxes, red)) * likely_width(boxes, ruler)
        colours = [chromatic(seen, _whole(box, width, height)) for box in boxes]
        scores = scores * np.array(colours)
        order = np.argsort(-scores, kind="stable")
        order = order[scores[order] >= _SURE]
        boxes, scores = drop_dwarfs(boxes[order], scores[order])
        found = [_whole(box, width, height) for box in boxes]
        if self._every:
            return sorted(set(found), key=lambda box: (box[1], box[0], box[3], box[2])), slide
        best = min(
            zip(found, scores, strict=True),
            key=lambda each: (_NEAR * _cut(each[0], image, pyramid[0][0]) - each[1], each[0]),
            default=None,
        )
        return ([] if best is None else [best[0]]), slide

    def _pyramid(self, image: Pixels) -> list[tuple[int, Pixels]]:
        """(factor, level), each half the one before."""
        pixels = image.shape[0] * image.shape[1]
        factor = max(1, int(np.ceil(round((pixels / _FIRST) ** 0.2, 6))))
        levels = [(factor, self._shrink(image, factor) if factor > 1 else image)]
        while max(levels[-1][1].shape) > _SMALLEST:
            factor, level = levels[-1]
            levels.append((2 * factor, self._shrink(level, 2)))
        return levels

    def _mark(self, light: Floats, factor: int, *, turned: bool) -> tuple[Marked, Marked]:
        """What looks like white and like red cells on a level of absorbed light (3, h, w)."""
        height, width = light.shape[1:]
        shown = torch.from_numpy(light)[None]
        shown = functional.pad(shown, (0, -width % _ALIGN, 0, -height % _ALIGN))
        if turned:
            shown = torch.cat([shown, shown.flip(2, 3)])
        heat, reach = (each.numpy() for each in self._finder(shown))
        sides = reach.reshape(len(reach), 2, 4, *reach.shape[2:])
        heat, sides = (heat[0], sides[0]) if not turned else _averaged(heat, sides)
        rows, columns = -(-height // _STRIDE), -(-width // _STRIDE)
        edge = np.array([width, height, width, height])
        marked = []
        for kind in (0, 1):
            peaks = peak_local_max(
                heat[kind, :rows, :columns],
                min_distance=1,
                threshold_abs=_FAINTEST,
                exclude_border=False,
            )
            row, column = peaks.T
            middle = np.stack([column, row, column, row], 1) * _STRIDE + _STRIDE / 2
            distances = sides[kind, :, row, column].astype(float) * _STRIDE
            boxes = (middle + distances * (-1, -1, 1, 1)).clip(0, edge)
            wide = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
            scores = heat[kind, row, column] * network.weight(wide)
            kept = scores >= _FAINTEST
            factors = np.full(kept.sum(), factor)
            marked.append(Marked(boxes[kept] * factor, scores[kept], factors))
        return marked[0], marked[1]

    def _crop(self, image: Pixels, box: Box, slide: Floats) -> Pixels:
        """The square around a cell, with the slide's colour made white, of the model's size."""
        left, top, right, bottom = box
        side = max(1, round(self._width * max(right - left, bottom - top)))
        across, down = (left + right - side) // 2, (top + bottom - side) // 2
        inside = image[max(down, 0) : down + side, max(across, 0) : across + side]
        white = np.rint((inside + np.float32(1)) / (slide + 1) * WHITE).clip(0, 255)
        square = np.full((side, side, 3), WHITE, np.uint8)
        above, before = max(-down, 0), max(-across, 0)
        square[above : above + len(inside), before : before + inside.shape[1]] = white
        return self._resize(square, self._size)


def _cut(box: Box, image: Pixels, reach: int) -> bool:
    """Whether a box touches the frame of an image."""
    (left, top, right, bottom), (height, width) = box, image.shape[:2]
    return left <= reach or top <= reach or right >= width - reach or bottom >= height - reach


def _slide_colour(pyramid: Sequence[tuple[int, Pixels]]) -> Floats:
    """The 90 % quantile of each channel outside black, on the first level that is small enough."""
    small = [level for _, level in pyramid if level.shape[0] * level.shape[1] <= _ENOUGH]
    colours = (small or [pyramid[-1][1]])[0].reshape(-1, 3).T
    colours = colours[:, colours.max(axis=0) > _BLACK]
    if not colours.size:
        return np.full(3, 255, np.float32)
    return np.asarray(np.quantile(colours, 0.9, axis=1, method="inverted_cdf"), np.float32)


def _absorbed(level: Pixels, slide: Floats) -> Floats:
    """1 - image / slide, (3, h, w)."""
    planes = np.ascontiguousarray(level.transpose(2, 0, 1))
    light = 1 - (planes + np.float32(1)) / (slide + 1)[:, None, None]
    light = np.maximum(light, np.float32(-0.25))
    light[:, planes.max(axis=0) <= _BLACK] = 0
    return np.asarray(light)


def _averaged(heat: Floats, sides: Floats) -> tuple[Floats, Floats]:
    """The mean of a level's answers and of those to it upside down."""
    other = sides[1][..., ::-1, ::-1][:, [2, 3, 0, 1]]
    return (heat[0] + heat[1][..., ::-1, ::-1]) / 2, (sides[0] + other) / 2


def _joined(marked: Sequence[Marked], width: int, height: int) -> Marked:
    """All levels' marks, the best first."""
    scores = np.concatenate([one.scores for one in marked])
    order = np.argsort(-scores, kind="stable")
    boxes = np.concatenate([one.boxes for one in marked])[order]
    factors = np.concatenate([one.factors for one in marked])[order]
    return Marked(np.minimum(boxes, (width, height, width, height)), scores[order], factors)


def _whole(box: NDArray[np.float64], width: int, height: int) -> Box:
    left, top, right, bottom = (int(side) for side in np.rint(box))
    left, top = min(max(left, 0), width - 1), min(max(top, 0), height - 1)
    return left, top, min(max(right, left + 1), width), min(max(bottom, top + 1), height)


def _shrunk_by_pillow(image: Pixels, factor: int) -> Pixels:
    return np.asarray(Image.fromarray(image).reduce(factor))


def _shrunk_by_scikit_image(image: Pixels, factor: int) -> Pixels:
    means = downscale_local_mean(image, (factor, factor, 1))
    return np.asarray(np.rint(means), np.uint8)


def _resized_by_pillow(image: Pixels, size: tuple[int, int]) -> Pixels:
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))


def _resized_by_scikit_image(image: Pixels, size: tuple[int, int]) -> Pixels:
    resized = resize(image, size, order=1, anti_aliasing=True, preserve_range=True)
    return np.asarray(np.rint(resized), np.uint8)
