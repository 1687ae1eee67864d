"""Accuracy of who hides whom and of the order from front to back, as raw sums that add up.

- Pairs count if one true object is nearer wherever both reach, and their true whole masks share at least 4 pixels (less
  is a touch). A pair is decided if the result says that exactly one hides the other; right if it is the nearer one;
  placed if the nearer one comes first in `front_to_back`, decided or not.
- `occluded_by`: a named pair is precise if the one named is nearer somewhere; of the pairs in which one hides the other
  by the true masks, those named count for recall.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from c2f_ros.geometry import BoolArray, PlacedMask, count_common
from c2f_ros.occlusion_order import SceneOrder, find_order

LEAST_OVERLAP = 4


@dataclass(frozen=True, eq=False)
class TrueOrder:
    """What is true of N objects of a frame. nearer: [N, N], row a is nearer than column b at a pixel where both reach.
    overlap: [N, N], pixels where both reach. hides: [N, N], a hides b by `find_order` of the true masks."""

    nearer: BoolArray
    overlap: NDArray[np.int64]
    hides: BoolArray


def true_order(
    visible: Sequence[PlacedMask], amodal: Sequence[PlacedMask], nearer: BoolArray | None = None
) -> TrueOrder:
    """The truth of N objects from their true masks; nearer: None where only the masks are known, which show it
    wherever the nearer object is visible."""
    found = find_order(visible, amodal)
    overlap = np.zeros((len(amodal), len(amodal)), np.int64)
    for a, one in enumerate(amodal):
        for b in range(a):
            overlap[a, b] = overlap[b, a] = count_common(one, amodal[b])
    return TrueOrder(found.pixels > 0 if nearer is None else nearer, overlap, found.hides)


@dataclass
class OrderAccuracy:
    """Sums over frames; what they count is in the module's docstring."""

    pairs: int = 0
    decided: int = 0
    right: int = 0
    placed: int = 0
    named: int = 0
    named_rightly: int = 0
    hiding: int = 0
    hiding_named: int = 0
    cycles: int = 0
    frames: int = 0

    def add(self, truth: TrueOrder, found: SceneOrder) -> None:
        """Take one frame; both are of the same objects, in the same order (`EMPTY_MASK`s where there is no result)."""
        one_sided = truth.nearer & ~truth.nearer.T & (truth.overlap >= LEAST_OVERLAP)
        decided = found.hides != found.hides.T
        place = np.argsort(found.front_to_back).reshape(-1)
        self.pairs += int(one_sided.sum())
        self.decided += int((one_sided & decided).sum())
        self.right += int((one_sided & decided & found.hides).sum())
        self.placed += int((one_sided & (place[:, None] < place[None, :])).sum())
        self.named += int(found.hides.sum())
        self.named_rightly += int((found.hides & truth.nearer).sum())
        self.hiding += int(truth.hides.sum())
        self.hiding_named += int((truth.hides & found.hides).sum())
        self.cycles += len(found.cycles)
        self.frames += 1

    def __add__(self, other: OrderAccuracy) -> OrderAccuracy:
        return OrderAccuracy(
            *(a + b for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True))
        )

    def summary(self) -> dict[str, float | int | None]:
        """Percent, None where nothing counts: `order_placed` of all pairs, `order_right` of the decided ones,
        `order_decided` of all, `occluded_by_precision`, `occluded_by_recall`. Counts: `order_pairs`, `order_cycles`,
        `order_frames`."""
        return {
            "order_placed": _percent(self.placed, self.pairs),
            "order_right": _percent(self.right, self.decided),
            "order_decided": _percent(self.decided, self.pairs),
            "occluded_by_precision": _percent(self.named_rightly, self.named),
            "occluded_by_recall": _percent(self.hiding_named, self.hiding),
            "order_pairs": self.pairs,
            "order_cycles": self.cycles,
            "order_frames": self.frames,
        }

    def to_json(self) -> dict[str, int]:
        """The raw sums, for a JSON file."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(content: Mapping[str, int]) -> OrderAccuracy:
        """What `to_json` wrote."""
        return OrderAccuracy(**content)


def _percent(part: int, whole: int) -> float | None:
    return None if whole == 0 else round(100.0 * part / whole, 2)
