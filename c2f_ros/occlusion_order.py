"""Who hides whom, and the order of all objects of a frame from front to back, from their visible and whole masks.

`a` hides `b` where `a` is visible and the whole of `b` reaches. Evidence is counted in pixels. A whole mask that spills
over its neighbour's edge makes false evidence in the other direction, weaker than the true one; it is left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

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
        found = np.flatnonzero(self.hides[:, row])
        return tuple(int(a) for a in found[np.argsort(-self.pixels[found, row], kind="stable")])


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
    count = len(visible)
    pixels = np.zeros((count, count), np.int64)
    for b, part in enumerate(hidden):
        if part.is_empty:
            continue
        for a, seen in enumerate(visible):
            if a != b:
                pixels[a, b] = count_common(seen, part)
    return pixels


def _that_count(pixels: NDArray[np.int64], hidden_areas: NDArray[np.int64]) -> BoolArray:
    enough = (pixels > 0) & (pixels >= LEAST_SHARE * hidden_areas[None, :])
    return enough & (pixels >= LEAST_RETURN * pixels.T)


def _rings(hides: BoolArray) -> list[list[int]]:
    """The rows of every strongly connected component with more than one member."""
    if not len(hides):
        return []
    count, labels = connected_components(hides, directed=True, connection="strong")
    groups = [np.flatnonzero(labels == label).tolist() for label in range(count)]
    return [group for group in groups if len(group) > 1]


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
    waiting = hides.sum(axis=0)
    left, order = set(range(len(bottoms))), []
    while left:
        row = max((r for r in left if waiting[r] == 0), key=lambda r: (bottoms[r], -r))
        left.remove(row)
        order.append(row)
        waiting = waiting - hides[row]
    return order
