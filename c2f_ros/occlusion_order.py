"""Who hides whom, and the order of all objects of a frame from front to back, from their visible and whole masks.

`a` hides `b` where `a` is visible and the whole of `b` reaches. Evidence is counted in pixels. A whole mask that spills
over its neighbour's edge makes false evidence in the other direction, weaker than the true one; it is left out.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from c2f_ros.geometry import BoolArray, PlacedMask, count_common, minus
from c2f_ros.records import AmodalFrame

LEAST_SHARE = 0.05
"""What covers less of an object's hidden part than this does not count as hiding it."""
LEAST_RETURN = 0.5
"""Of two objects that seem to hide each other, the weaker evidence counts only from this share of the stronger."""


@dataclass(frozen=True, eq=False)
class SceneOrder:
    """The order of N objects, as rows of the lists that they came in.

    pixels: [N, N], in how many pixels of column b's hidden part row a is visible. hides: [N, N], where that counts.
    front_to_back: every row once; whoever hides another comes before it, but for cycles. cycles: groups of rows that
    hide each other in a ring, each in that order too, made by leaving out the weakest evidence.
    """

    pixels: NDArray[np.int64]
    hides: BoolArray
    front_to_back: tuple[int, ...]
    cycles: tuple[tuple[int, ...], ...]

    def occluders(self, row: int) -> tuple[int, ...]:
        """The rows that hide `row`, the one that hides most first."""
        found, pixels = np.flatnonzero(self.hides[:, row]).tolist(), self.pixels
        return tuple(sorted(found, key=lambda a: -int(pixels[a, row])))


def find_order(visible: Sequence[PlacedMask], amodal: Sequence[PlacedMask]) -> SceneOrder:
    """The order of N objects. Objects without a visible pixel hide nothing, but are hidden: they have a place too.

    Objects between which there is no evidence are ordered by the lowest row that they reach: nearer things stand
    lower in the image.
    """
    hidden = [minus(whole, seen) for whole, seen in zip(amodal, visible, strict=True)]
    pixels = hiding_pixels(visible, hidden)
    hides = _that_count(pixels, np.array([part.area for part in hidden], np.int64))
    bottoms = [whole.box.y1 for whole in amodal]
    groups = _rings(hides)
    kept = _without_cycles(np.where(hides, pixels, 0), groups)
    order = _front_to_back(kept, bottoms)
    place = {row: index for index, row in enumerate(order)}
    cycles = sorted((tuple(sorted(group, key=place.__getitem__)) for group in groups), key=lambda g: place[g[0]])
    return SceneOrder(pixels, hides, tuple(order), tuple(cycles))


def in_order(frame: AmodalFrame) -> AmodalFrame:
    """The frame with `occluded_by` of every object, `front_to_back` and `cycles` as its masks show them."""
    items = frame.instances
    found = find_order([item.visible for item in items], [item.amodal for item in items])

    def names(rows: Sequence[int]) -> tuple[str, ...]:
        return tuple(items[row].track_id for row in rows)

    return dataclasses.replace(
        frame,
        instances=tuple(
            dataclasses.replace(item, occluded_by=names(found.occluders(row))) for row, item in enumerate(items)
        ),
        front_to_back=names(found.front_to_back),
        cycles=tuple(names(group) for group in found.cycles),
    )


def hiding_pixels(visible: Sequence[PlacedMask], hidden: Sequence[PlacedMask]) -> NDArray[np.int64]:
    """[N, N]: in how many pixels row a is visible where column b is hidden; 0 on the diagonal."""
    pixels = np.zeros((len(visible), len(hidden)), np.int64)
    for a, b in np.argwhere(_boxes_meet(visible, hidden)).tolist():
        if a != b:
            pixels[a, b] = count_common(visible[a], hidden[b])
    return pixels


def _boxes_meet(a: Sequence[PlacedMask], b: Sequence[PlacedMask]) -> BoolArray:
    """[len(a), len(b)]: whether two masks' boxes have a pixel in common."""
    corners = (
        np.array([(mask.box.x0, mask.box.y0, mask.box.x1, mask.box.y1) for mask in masks], np.int64).reshape(-1, 4)
        for masks in (a, b)
    )
    (left, top, right, bottom), (lefts, tops, rights, bottoms) = (edges.T for edges in corners)
    across = np.minimum(right[:, None], rights) > np.maximum(left[:, None], lefts)
    return across & (np.minimum(bottom[:, None], bottoms) > np.maximum(top[:, None], tops))


def _that_count(pixels: NDArray[np.int64], hidden_areas: NDArray[np.int64]) -> BoolArray:
    enough = (pixels > 0) & (pixels >= LEAST_SHARE * hidden_areas[None, :])
    return enough & (pixels >= LEAST_RETURN * pixels.T)


def _rings(hides: BoolArray) -> list[list[int]]:
    """The rows of every strongly connected component with more than one member."""
    if not hides.any():
        return []
    reach = (hides | np.eye(len(hides), dtype=bool)).astype(np.float32)
    for _ in range(max(1, len(hides) - 1).bit_length()):  # paths of 1, 2, 4, ... steps
        reach = (reach @ reach > 0).astype(np.float32)
    is_mutual = (reach > 0) & (reach.T > 0)
    firsts = np.flatnonzero((is_mutual.sum(1) > 1) & (is_mutual.argmax(1) == np.arange(len(hides))))
    return [np.flatnonzero(is_mutual[first]).tolist() for first in firsts]


def _without_cycles(weights: NDArray[np.int64], groups: list[list[int]]) -> BoolArray:
    """`weights` > 0 without the weakest of them in every ring, one after the other, until none is left."""
    kept = weights.copy()
    while groups:
        for group in groups:
            part = kept[np.ix_(group, group)]
            weakest = int(np.where(part > 0, part, np.iinfo(np.int64).max).argmin())
            kept[group[weakest // len(group)], group[weakest % len(group)]] = 0
        groups = _rings(kept > 0)
    return kept > 0


def _front_to_back(hides: BoolArray, bottoms: Sequence[int]) -> list[int]:
    """A topological order of an acyclic relation; of those that may come next, the one that reaches lowest."""
    waiting = hides.sum(axis=0).tolist()
    ready, order = [(-bottoms[row], row) for row, count in enumerate(waiting) if count == 0], []
    heapq.heapify(ready)
    while ready:
        _, row = heapq.heappop(ready)
        order.append(row)
        for behind in np.flatnonzero(hides[row]).tolist():
            waiting[behind] -= 1
            if waiting[behind] == 0:
                heapq.heappush(ready, (-bottoms[behind], behind))
    return order
