"""Step 3: give ids. Upstream's track ids are kept; where there is none, masks are associated from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from c2f_ros.geometry import PlacedMask, count_common
from c2f_ros.records import Instances, PairedFrame, TrackedFrame

OWN_PREFIX = "own_"


@dataclass
class OwnTrack:
    """A track of ours: its id, where it was seen last, and for how many frames it has been missing."""

    track_id: str
    visible: PlacedMask
    missed: int = 0


class Identities:
    """Associates instances without an id by mask IoU, one to one, best total first (Hungarian method).

    A track that finds no instance for more than `max_missed` frames ends; at most that many are kept in memory.
    With `is_own` upstream's ids are ignored.
    """

    def __init__(self, is_own: bool, min_iou: float, max_missed: int) -> None:
        self.is_own, self.min_iou, self.max_missed = is_own, min_iou, max_missed
        self._tracks: list[OwnTrack] = []
        self._born = 0

    def reset(self) -> None:
        """Forget all tracks; numbers are not used again."""
        self._tracks = []

    def assign(self, paired: PairedFrame) -> TrackedFrame:
        """The frame with one id per instance, unique in the frame."""
        instances = paired.instances.instances
        ids = ["" if self.is_own else instance.upstream_id for instance in instances]
        nameless = [index for index, name in enumerate(ids) if not name]
        for index, name in zip(nameless, self._associate(paired.instances, nameless), strict=True):
            ids[index] = name
        return TrackedFrame(paired, tuple(ids))

    def _associate(self, instances: Instances, rows: list[int]) -> list[str]:
        masks = [instances.instances[row].visible for row in rows]
        iou = mask_iou(masks, [track.visible for track in self._tracks])
        names = [""] * len(masks)
        matched = set()
        for row, column in zip(*linear_sum_assignment(-iou), strict=True):
            if iou[row, column] >= self.min_iou:
                track = self._tracks[column]
                names[row], track.visible, track.missed = track.track_id, masks[row], 0
                matched.add(column)
        for column, track in enumerate(self._tracks):
            track.missed += column not in matched
        self._tracks = [track for track in self._tracks if track.missed <= self.max_missed]
        for row, name in enumerate(names):
            if not name:
                self._born += 1
                names[row] = f"{OWN_PREFIX}{self._born}"
                self._tracks.append(OwnTrack(names[row], masks[row]))
        return names


def mask_iou(a: list[PlacedMask], b: list[PlacedMask]) -> NDArray[np.float64]:
    """Intersection over union of every mask in `a` with every mask in `b`: [len(a), len(b)]."""
    iou = np.zeros((len(a), len(b)))
    areas = [mask.area for mask in b]
    for row, mask in enumerate(a):
        area = mask.area
        for column, other in enumerate(b):
            common = count_common(mask, other)
            if common:
                iou[row, column] = common / (area + areas[column] - common)
    return iou
