"""Objects that come back under another id: recognized by where the model says that the hidden ones are.

Pure logic, used by step 3.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from c2f_ros.geometry import EMPTY_MASK, Box, PlacedMask, count_common, tighten
from c2f_ros.motion import Similarity
from c2f_ros.records import VisibleInstance

LEAST_COVER = 0.5
"""Share of a new visible mask that the expected one must cover. Below it more of the object lies where the hidden one
is not believed to be; above it a prediction may be off by half of what is seen, and a neighbour that only touches does
not pass."""
MARGIN = 0.1
"""What is expected is widened by this share of its longer side: the first sliver that comes out from behind an occluder
lies at the prediction's very edge, where an error of a few pixels would lose it."""
OVERLAP_WEIGHT = 0.01
"""Of IoU beside coverage: two expected masks may both cover a sliver; the one that fits better decides."""


@dataclass(frozen=True, eq=False)
class Expected:
    """A track that may come back: where its whole mask should be in the frame that is about to be observed."""

    track_id: str
    class_id: str
    mask: PlacedMask


class Remembered(Protocol):
    """What step 3 asks the memory of tracks (step 4) before it gives ids."""

    def __contains__(self, track_id: str) -> bool:
        """Whether a track of this id is followed."""
        ...

    def predicted(self) -> Collection[str]:
        """Ids of the tracks whose whole mask has been predicted."""
        ...

    def expect(self, track_ids: Collection[str], visible: Mapping[str, PlacedMask]) -> list[Expected]:
        """Where these tracks, all of `predicted`, should be now. visible: masks of the tracks that are seen now."""
        ...

    def forget(self, track_id: str) -> None:
        """End this track."""
        ...


def recognize(strangers: Sequence[VisibleInstance], expected: Sequence[Expected]) -> dict[int, str]:
    """Which stranger is which expected track: index -> track id, one to one, best total first (Hungarian method).

    A pair must be of the same class, where both are known, and covered by `LEAST_COVER`.
    """
    weights = np.zeros((len(strangers), len(expected)))
    for column, track in enumerate(expected):
        mask = widened(track.mask)
        for row, stranger in enumerate(strangers):
            if not track.class_id or not stranger.class_id or track.class_id == stranger.class_id:
                weights[row, column] = _weight(stranger.visible, mask)
    pairs = zip(*linear_sum_assignment(-weights), strict=True)
    return {int(row): expected[column].track_id for row, column in pairs if weights[row, column] > 0}


def _weight(visible: PlacedMask, expected: PlacedMask) -> float:
    common, area = count_common(visible, expected), visible.area
    if common < max(1.0, LEAST_COVER * area):
        return 0.0
    return common / area + OVERLAP_WEIGHT * common / (area + expected.area - common)


def move_mask(mask: PlacedMask, motion: Similarity, height: int, width: int) -> PlacedMask:
    """The mask after `motion`, to the nearest pixel, inside an image of `height` x `width`."""
    if mask.is_empty:
        return EMPTY_MASK
    left, top = motion.at(mask.box.x0, mask.box.y0)
    right, bottom = motion.at(mask.box.x1, mask.box.y1)
    columns, rows = max(1, round(right - left)), max(1, round(bottom - top))
    box = Box(round(left), round(top), round(left) + columns, round(top) + rows)
    inside = box.clip(height, width)
    if inside.is_empty:
        return EMPTY_MASK
    moved = mask.mask
    if moved.shape != (rows, columns):
        moved = cv2.resize(moved.view(np.uint8), (columns, rows), interpolation=cv2.INTER_NEAREST).view(np.bool_)
    return tighten(PlacedMask(inside, moved[inside.within(box)]))


def widened(mask: PlacedMask) -> PlacedMask:
    """The mask with a border of `MARGIN` of its longer side, at least one pixel; it may leave the image."""
    if mask.is_empty:
        return EMPTY_MASK
    border = max(1, round(MARGIN * max(mask.box.width, mask.box.height)))
    padded = np.pad(mask.mask.view(np.uint8), border)
    grown = cv2.dilate(padded, np.ones((2 * border + 1, 2 * border + 1), np.uint8))
    box = mask.box
    return PlacedMask(Box(box.x0 - border, box.y0 - border, box.x1 + border, box.y1 + border), grown.view(np.bool_))
