"""Step 3: give ids. Upstream's track ids are kept; where there is none, masks are associated from frame to frame.

Where hidden objects are remembered, one that comes back under a new id gets its old one.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from c2f_ros.geometry import PlacedMask, count_common
from c2f_ros.reassociation import Remembered, recognize
from c2f_ros.records import PairedFrame, TrackedFrame, VisibleInstance

OWN_PREFIX = "own_"
MOST_ALIASES = 1024
"""Upstream ids that are remembered to stand for another track; beyond it the one not met for longest is forgotten."""


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

    Given the memory of tracks, an instance that would begin a track is first compared with where hidden objects are
    predicted to be. If it is one of them it keeps that track's id, and upstream's new id stands for it from then on.
    """

    def __init__(self, is_own: bool, min_iou: float, max_missed: int) -> None:
        self.is_own, self.min_iou, self.max_missed = is_own, min_iou, max_missed
        self.reassociated = 0
        self._tracks: dict[str, OwnTrack] = {}
        self._aliases: OrderedDict[str, str] = OrderedDict()
        self._born = 0

    def reset(self) -> None:
        """Forget all tracks; numbers are not used again."""
        self._tracks.clear()
        self._aliases.clear()

    def assign(self, paired: PairedFrame, memory: Remembered | None = None) -> TrackedFrame:
        """The frame with one id per instance, unique in the frame. memory: of hidden objects; None: ids are not
        re-associated."""
        instances = paired.instances.instances
        names = [""] * len(instances) if self.is_own else self._known_names(instances, memory)
        nameless = [row for row, name in enumerate(names) if not name]
        self._carry_on(names, nameless, instances, memory)
        if memory is not None:
            self._recognize(names, instances, memory)
        self._keep_own(names, nameless, instances)
        return TrackedFrame(paired, tuple(names))

    def _known_names(self, instances: Sequence[VisibleInstance], memory: Remembered | None) -> list[str]:
        """Upstream's ids, or what they stand for. Where two stand for one track, see `_part`."""
        while True:
            names = [self._aliases.get(i.upstream_id, i.upstream_id) for i in instances]
            rows_of: dict[str, list[int]] = defaultdict(list)
            for row, name in enumerate(names):
                rows_of[name].append(row)
            shared = {name: [instances[row].upstream_id for row in rows] for name, rows in rows_of.items()}
            shared = {name: ids for name, ids in shared.items() if len(set(ids)) > 1}
            if not shared:
                break
            for name, ids in shared.items():
                self._part(name, ids, memory)
        for instance in instances:
            if instance.upstream_id in self._aliases:
                self._aliases.move_to_end(instance.upstream_id)
        return names

    def _part(self, name: str, upstream_ids: list[str], memory: Remembered | None) -> None:
        """Upstream sends several objects of which each stands for the track `name`: they are not the same object.

        If the original id itself is back, the others were mistaken for it: all go by upstream's names from now on, and
        the track, whose memory is mixed, begins anew. Else the one that carried the track last keeps it.
        """
        others = [other for other in upstream_ids if other != name]
        if len(others) < len(upstream_ids):
            if memory is not None:
                memory.forget(name)
        else:
            last_met = {alias: order for order, alias in enumerate(self._aliases)}
            others.remove(max(others, key=last_met.__getitem__))
        for other in others:
            del self._aliases[other]

    def _carry_on(
        self, names: list[str], rows: list[int], instances: Sequence[VisibleInstance], memory: Remembered | None
    ) -> None:
        """Give instances without a name that of the own track that they overlap.

        A hidden track whose whole mask has been predicted is not compared by what was seen of it last.
        """
        predicted = set() if memory is None else memory.predicted()
        tracks = [
            track for name, track in self._tracks.items()
            if name not in names and not (track.missed and name in predicted)
        ]  # fmt: skip
        iou = mask_iou([instances[row].visible for row in rows], [track.visible for track in tracks])
        for index, column in zip(*linear_sum_assignment(-iou), strict=True):
            if iou[index, column] >= self.min_iou:
                names[rows[index]] = tracks[column].track_id

    def _recognize(self, names: list[str], instances: Sequence[VisibleInstance], memory: Remembered) -> None:
        """Give instances that would begin a track the name of the hidden track that they are, if they are one."""
        strangers = [row for row, name in enumerate(names) if not name or name not in memory]
        missing = [name for name in memory.predicted() if name not in names] if strangers else []
        if not missing:
            return
        visible = {name: i.visible for name, i in zip(names, instances, strict=True) if name in memory}
        found = recognize([instances[row] for row in strangers], memory.expect(missing, visible))
        for index, track_id in found.items():
            row = strangers[index]
            names[row] = track_id
            self.reassociated += 1
            upstream_id = "" if self.is_own else instances[row].upstream_id
            if upstream_id and upstream_id != track_id:
                self._aliases[upstream_id] = track_id
                self._aliases.move_to_end(upstream_id)
        while len(self._aliases) > MOST_ALIASES:
            self._aliases.popitem(last=False)

    def _keep_own(self, names: list[str], nameless: list[int], instances: Sequence[VisibleInstance]) -> None:
        """Names for what is left, and the own tracks as they are after this frame."""
        for track in self._tracks.values():
            track.missed += 1
        for row in nameless:
            if not names[row]:
                self._born += 1
                names[row] = f"{OWN_PREFIX}{self._born}"
            self._tracks[names[row]] = OwnTrack(names[row], instances[row].visible)
        self._tracks = {name: track for name, track in self._tracks.items() if track.missed <= self.max_missed}


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
