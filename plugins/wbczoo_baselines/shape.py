"""A nucleus and its cell as masks go in here; lengths, lobes and outlines come out as numbers."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.measure import label, perimeter, regionprops

from wbczoo_baselines.segmentation import LONGER_SIDE, Cell, Mask

EROSIONS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4)  # of the nucleus's equal-area radius
CLOSINGS = (0.1, 0.2, 0.35)


def measure_nucleus(cell: Cell) -> dict[str, float]:
    """Area, shape and lobes of the nucleus.

    Lengths are relative to the radius of a disc of equal area, so that they say nothing of the
    size; areas are relative to the nucleus, but for `area`, which is to the image. Lobes are
    counted as what falls apart when the nucleus is eroded.
    """
    mask = np.pad(cell.nucleus, 2)
    found = _outline(mask)
    area = int(mask.sum())
    radius = math.sqrt(area / math.pi)
    depth = ndimage.distance_transform_edt(mask) / radius
    parts = np.sort(np.bincount(label(mask, connectivity=1).ravel())[1:])[::-1] / area
    shares = [*parts[:3], 0.0, 0.0]
    found |= {
        "area": area / cell.image_area,
        "radius": radius / LONGER_SIDE,
        "cut sides": cell.cut_sides,
        "parts": float(len(parts)),
        "first part": float(shares[0]),
        "second part": float(shares[1]),
        "third part": float(shares[2]),
        "depth mean": float(depth[mask].mean()),
        "depth spread": float(depth[mask].std()),
        "depth greatest": float(depth.max()),
        "peaks": float(
            len(peak_local_max(depth, min_distance=max(1, round(0.3 * radius)), threshold_abs=0.25))
        ),
    }
    for share in EROSIONS:
        core = depth > share
        marks = np.bincount(label(core, connectivity=1).ravel())[1:]
        found[f"kept at {share}"] = float(core.sum()) / area
        found[f"lobes at {share}"] = float((marks >= 0.01 * area).sum())
    room = 2 + math.ceil(max(CLOSINGS) * radius)
    outside = ndimage.distance_transform_edt(~np.pad(cell.nucleus, room))
    for share in CLOSINGS:
        grown = outside <= share * radius
        closed = ndimage.distance_transform_edt(grown) > share * radius
        found[f"closed at {share}"] = float(closed.sum()) / area
    return found


def measure_cell(cell: Cell) -> dict[str, float]:
    """The whole cell's shape, and how much of it and of its surroundings the nucleus is."""
    whole = np.pad(cell.nucleus | cell.cytoplasm, 2)
    nucleus = np.pad(cell.nucleus, 2)
    found = {f"cell {name}": value for name, value in _outline(whole).items()}
    radius = math.sqrt(whole.sum() / math.pi)
    centres = [np.array(ndimage.center_of_mass(mask)) for mask in (nucleus, whole)]
    return found | {
        "cell radius": radius / LONGER_SIDE,
        "nucleus of cell": float(nucleus.sum() / whole.sum()),
        "nucleus off centre": float(np.linalg.norm(centres[0] - centres[1])) / radius,
        "ring in cell": float((cell.ring & cell.cytoplasm).sum() / max(1, cell.ring.sum())),
    }


def _outline(mask: Mask) -> dict[str, float]:
    """What the outline of a mask, all of its parts together, looks like."""
    (region,) = regionprops(mask.astype(np.uint8))
    around = float(perimeter(mask, 8)) or 1.0
    area = float(region.area)
    hull = np.pad(region.image_convex, 1)
    radius = math.sqrt(area / math.pi)
    rows, columns = np.nonzero(mask & ~ndimage.binary_erosion(mask))
    reach = np.hypot(rows - region.centroid[0], columns - region.centroid[1]) / radius
    return {
        "solidity": float(region.solidity),
        "extent": float(region.extent),
        "eccentricity": float(region.eccentricity),
        "axes": float(region.axis_minor_length / max(region.axis_major_length, 1e-6)),
        "circularity": 4 * math.pi * area / around**2,
        "convexity": float(perimeter(hull, 8)) / around,
        "euler": float(region.euler_number),
        "holes": float(region.area_filled - area) / area,
        "reach mean": float(reach.mean()),
        "reach spread": float(reach.std()),
        "reach least": float(reach.min()),
        "reach greatest": float(reach.max()),
    }
