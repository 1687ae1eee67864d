"""Sequences whose true masks are known, with the visible masks that a faulty upstream would send."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from c2f_ros.geometry import EMPTY_MASK, Box, PlacedMask, cut_mask, place
from c2f_ros.records import SourceFrame, SourceObject
from c2f_ros.sources.predicted import FIRST_UNMATCHED_ID, MatchedObject, true_visible
from c2f_train.data.sequences import KnownFrame
from c2f_train.data.upstream import UpstreamFault, UpstreamFrame, simulate
from c2f_train.scores.evaluation_result import Sequences


class Pooled:
    """The first `clips` sequences (None: all) of every data set; names begin with the data set's."""

    def __init__(self, data: Mapping[str, Sequences], clips: int | None = None) -> None:
        self._data, self._clips = data, clips

    def __iter__(self) -> Iterator[tuple[str, Iterable[SourceFrame]]]:
        for data, sequences in self._data.items():
            for name, frames in islice(sequences, self._clips):
                yield f"{data}/{name}", frames


class FaultySequences:
    """`sequences` as they are sent with a fault (None: none). The truth stays; frames that are not sent are left out.
    Iterating gives (name, frames), each time the same."""

    def __init__(self, sequences: Sequences, fault: UpstreamFault | None, seed: int) -> None:
        self._sequences, self._fault, self._seed = sequences, fault, seed

    def __iter__(self) -> Iterator[tuple[str, list[SourceFrame]]]:
        for number, (name, frames) in enumerate(self._sequences):
            yield name, faulty_frames(list(frames), self._fault, self._seed + number)


def faulty_frames(frames: Sequence[SourceFrame], fault: UpstreamFault | None, seed: int) -> list[SourceFrame]:
    """The frames of one sequence as they are sent.

    In the labels an object that is sent has its id; what is sent and stands for none is numbered from
    `FIRST_UNMATCHED_ID`. What upstream calls an object is in `KnownFrame.tracks`.
    """
    if fault is None:
        return list(frames)
    ids = sorted({int(identity) for frame in frames for identity in frame.objects})
    sent = simulate([_upstream(frame, number, ids) for number, frame in enumerate(frames)], fault, seed)
    return [_sent_frame(frames[item.number], item) for item in sent]


def _upstream(frame: SourceFrame, number: int, ids: Sequence[int]) -> UpstreamFrame:
    """The frame as upstream sends it without faults; the object ids[k] has value k + 1."""
    labels = np.zeros(frame.labels.shape, np.uint16)
    shown = {}
    for value, identity in enumerate(ids, start=1):
        where = frame.labels == identity
        if identity in frame.objects and where.any():
            labels[where] = value
            shown[value] = identity
    return UpstreamFrame(frame.stamp_ns, labels, shown, number)


def _sent_frame(frame: SourceFrame, sent: UpstreamFrame) -> SourceFrame:
    height, width = frame.labels.shape
    window = sent.window or Box(0, 0, width, height)
    table = np.zeros(int(sent.labels.max()) + 1, np.int32)
    tracks, objects = {}, {}
    for identity, item in frame.objects.items():
        amodal = None if item.amodal is None else _seen_through(item.amodal, window)
        visible = _seen_through(true_visible(frame, identity), window)
        objects[identity] = MatchedObject(item.class_id, amodal, visible, None)
    for value, identity in sent.stands_for.items():
        table[value] = identity or FIRST_UNMATCHED_ID + value
        if identity:
            tracks[identity] = str(value)
            objects[identity] = replace(objects[identity], score=1.0)
        else:
            objects[FIRST_UNMATCHED_ID + value] = SourceObject("", None)
    nearer = frame.nearer if isinstance(frame, KnownFrame) else None
    rgb = np.ascontiguousarray(frame.rgb[window.slices])
    return KnownFrame(sent.stamp_ns, rgb, table[sent.labels], objects, nearer, tracks)


def _seen_through(mask: PlacedMask, window: Box) -> PlacedMask:
    """The mask in the pixels of a part of the image."""
    return EMPTY_MASK if mask.box.intersect(window).is_empty else place(cut_mask(mask, window))
