"""Upstream ids that change behind an occluder, as those of trackers do, for sequences whose ids are true."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from c2f_ros.contract import InputError
from c2f_ros.geometry import place
from c2f_ros.records import SourceFrame, SourceObject
from c2f_ros.sources.predicted import MatchedObject

FIRST_NEW_ID = 10_000
"""New ids count up from here; masks are then 16 bits deep."""


def with_new_ids(frames: Iterable[SourceFrame]) -> Iterator[SourceFrame]:
    """The frames of one sequence; an object that was not visible for a frame has a new id in the labels when it comes
    back. The truth keeps its ids.

    Raises InputError if the sequence itself has ids as high as new ones.
    """
    sent: dict[int, int] = {}
    before: set[int] = set()
    free = FIRST_NEW_ID
    for frame in frames:
        seen = {int(identity) for identity in np.unique(frame.labels) if identity}
        if max(seen, default=0) >= FIRST_NEW_ID:
            raise InputError(
                f"the frame of {frame.stamp_ns} ns has an object {max(seen)}, expected ids below {FIRST_NEW_ID}; "
                "number the objects from 1, or leave their ids as they are"
            )
        for identity in sorted(seen - before):
            if identity in sent:
                sent[identity], free = free, free + 1
            sent.setdefault(identity, identity)
        before = seen
        yield _renamed(frame, {identity: sent[identity] for identity in seen})


def _renamed(frame: SourceFrame, sent: dict[int, int]) -> SourceFrame:
    objects: dict[int, SourceObject] = {}
    labels = frame.labels.copy()
    for identity, item in frame.objects.items():
        where = frame.labels == identity
        objects[identity] = MatchedObject(item.class_id, item.amodal, place(where), None)
        new = sent.get(identity, identity)
        if new != identity:
            labels[where] = new
            objects[new] = SourceObject(item.class_id, None)
    return SourceFrame(frame.stamp_ns, frame.rgb, labels, objects)
