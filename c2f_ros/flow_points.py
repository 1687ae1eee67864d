"""Which pixels optical flow is sought at: of an object, well inside its mask; of the background, an even grid.

Only every n-th row and column is looked at: the work does not grow with the image or the object.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from c2f_ros.geometry import PlacedMask

NO_POINTS = np.zeros((0, 2))


def mask_points(mask: PlacedMask, most: int) -> NDArray[np.float64]:
    """At most `most` set pixels [n, 2] as (x, y), spread evenly; pixels at the mask's border are avoided."""
    shown, area = mask.mask, mask.area
    if not area:
        return NO_POINTS
    step = max(2, int(np.sqrt(area / most)))
    first, height, width = step // 2, *shown.shape
    inner = shown[first : height - 1 : step, first : width - 1 : step].copy()
    for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        inner &= shown[first + down : height - 1 + down : step, first + right : width - 1 + right : step]
    rows, columns = np.nonzero(inner)
    rows, columns = rows * step + first, columns * step + first
    if len(rows) < most // 2:  # a sliver or a small object: all its pixels
        kernel = np.ones((3, 3), np.uint8)
        eroded = cv2.erode(shown.view(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        rows, columns = np.nonzero(eroded if eroded.any() else shown)
    if len(rows) > most:
        chosen = np.linspace(0, len(rows) - 1, most).astype(int)
        rows, columns = rows[chosen], columns[chosen]
    return np.stack([columns + mask.box.x0, rows + mask.box.y0], 1).astype(np.float64)


def background_points(labels: NDArray[np.integer], most: int) -> NDArray[np.float64]:
    """About `most` pixels [n, 2] as (x, y) of an even grid that no instance covers; labels [H, W]."""
    height, width = labels.shape
    step = max(4, int(np.sqrt(height * width / (2 * most))))
    rows, columns = np.nonzero(labels[step // 2 :: step, step // 2 :: step] == 0)
    points = np.stack([columns * step + step // 2, rows * step + step // 2], 1).astype(np.float64)
    return points[:: max(1, len(points) // most)]
