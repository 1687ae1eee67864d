"""How far a tracked object reaches in the image: the box of what was seen of it so far, moved along with it.

Pure logic. An edge that is seen no more is believed for a while, but only as long as something can hide what is behind
it: where no other instance lies, the object ends where it is seen to end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from c2f_ros.geometry import Box
from c2f_ros.motion import Similarity

MEMORY_S = 3.0
"""What is not seen any more of an extent is forgotten with this time constant, while other parts are seen."""
BARE_S = 0.3
"""The same where nothing could hide it: objects turn, and measured changes of size add up to wrong ones."""
GUESS_S = 0.3
"""The same while nothing is seen: a hidden object turns, and where it is becomes a guess. When it is seen again its
extent is what is seen, and of the old one what this has left."""
COVERED_SHARE = 0.15
"""Something can hide an object beyond the edge of what is seen of it if more than this share of the extent's part
there is covered by other instances, or if the edge is the image's."""
GROWTH = 0.25
"""An edge moves outwards by at most this share of the extent's size in a frame: upstream may merge objects."""
LEAST_HIDDEN = 1.0
"""Pixels beyond an edge for which nobody looks whether anything could hide them."""
SAMPLES = 16
"""Pixels along each side of such a part that are looked at, about."""

Extent = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels, fractions allowed."""
Labels = NDArray[np.generic]
"""[H, W], 0 (or False) where no instance is visible."""


def extent_of(box: Box) -> Extent:
    """The box as an extent."""
    return float(box.x0), float(box.y0), float(box.x1), float(box.y1)


def longer_side(extent: Extent) -> float:
    """The longer of width and height."""
    return max(extent[2] - extent[0], extent[3] - extent[1])


def moved_extent(extent: Extent, step: Similarity) -> Extent:
    """The extent after a motion."""
    return (*step.at(*extent[:2]), *step.at(*extent[2:]))


def joined(extents: Iterable[Extent]) -> Extent:
    """The smallest extent that contains all of them."""
    left, top, right, bottom = zip(*extents, strict=True)
    return min(left), min(top), max(right), max(bottom)


def renewed_extent(old: Extent, seen: Box, duration_s: float, unseen_s: float, labels: Labels | None) -> Extent:
    """`old` drawn towards what is seen where it reaches beyond, and widened, not too fast, where it falls short.

    seen: box of the visible pixels, `duration_s` after the last frame. unseen_s: for how long no pixel was visible
    before, 0 if some were in the last frame; then nothing is kept for long, and what is seen counts at once.
    labels: of the frame; None: unknown, then everything may be hidden.
    """
    if unseen_s:
        kept = bare = math.exp(-unseen_s / GUESS_S)
        most = math.inf
    else:
        kept, bare = math.exp(-duration_s / MEMORY_S), math.exp(-duration_s / BARE_S)
        most = GROWTH * max(longer_side(old), 8.0)
    edges = []
    for side, (there, edge) in enumerate(zip(old, extent_of(seen), strict=True)):
        outwards = -1 if side < 2 else 1
        beyond = outwards * (there - edge)
        if beyond <= 0:
            edges.append(edge if -beyond <= most else there + outwards * most)
            continue
        is_bare = beyond < LEAST_HIDDEN or (labels is not None and not _is_covered(old, seen, side, labels))
        edges.append(edge + outwards * beyond * (bare if is_bare else kept))
    left, top, right, bottom = edges
    return left, top, right, bottom


def _is_covered(old: Extent, seen: Box, side: int, labels: Labels) -> bool:
    """Whether something can hide what `old` has beyond `side` (left, top, right, bottom) of `seen`."""
    height, width = labels.shape
    if (seen.x0 <= 0, seen.y0 <= 0, seen.x1 >= width, seen.y1 >= height)[side]:
        return True
    x0, y0, x1, y1 = (max(0, round(edge)) for edge in old)
    if side == 0:
        x1 = seen.x0
    elif side == 1:
        y1 = seen.y0
    elif side == 2:
        x0 = seen.x1
    else:
        y0 = seen.y1
    looked = labels[y0 : y1 : max(1, (y1 - y0) // SAMPLES), x0 : x1 : max(1, (x1 - x0) // SAMPLES)]
    return int(np.count_nonzero(looked)) > COVERED_SHARE * looked.size
