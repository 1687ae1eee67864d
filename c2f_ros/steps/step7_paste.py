"""Step 7: paste back. Crop probabilities become amodal masks in the image, with occlusion and who causes it.

All work is done in the objects' own rectangles: nothing here grows with the image.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from c2f_ros.baselines import keep_under_others
from c2f_ros.contract import Manifest, TemporalSpec
from c2f_ros.crops import paste_window
from c2f_ros.geometry import EMPTY_MASK, PlacedMask, count_common, union
from c2f_ros.metrics import expected_ious
from c2f_ros.occlusion_order import in_order
from c2f_ros.records import (
    AmodalFrame,
    AmodalInstance,
    HiddenTrack,
    MaskProbabilities,
    ObservedFrame,
    Status,
    VisibleInstance,
)

HIDDEN_UNDER = ("anything", "other_instances")
SCORE_MEMORY_S = 1.0
"""The score of an object that is not seen falls with this time constant: after that its place is a guess."""


def predict_whole(
    observed: ObservedFrame, probabilities: MaskProbabilities, manifest: Manifest
) -> tuple[PlacedMask, ...]:
    """What the model takes for the whole of every inferred object, before any rule; what is seen is part of it.

    Rows as in the batch: the instances that have a window, in order, then the hidden tracks.
    """
    height, width = observed.tracked.paired.instances.labels.shape
    instances = observed.tracked.paired.instances.instances
    shown = [(w, i.visible) for w, i in zip(observed.windows, instances, strict=True) if w is not None]
    shown += [(track.window, EMPTY_MASK) for track in observed.hidden]
    crop, temporal, threshold = manifest.crop, manifest.temporal, manifest.mask_threshold
    return tuple(
        union(paste_window(probability, window, crop, temporal, height, width, threshold), visible)
        for probability, (window, visible) in zip(probabilities.amodal, shown, strict=True)
    )


def paste_back(
    observed: ObservedFrame,
    probabilities: MaskProbabilities,
    predicted: Sequence[PlacedMask],
    manifest: Manifest,
    hidden_under: str,
    ended: Collection[int] = (),
) -> AmodalFrame:
    """The frame's amodal masks, in the order of the upstream instances, then those of the hidden tracks.

    predicted: of `predict_whole`. hidden_under: "other_instances" keeps hidden pixels only where another instance is
    visible (right only if every occluder is segmented); "anything" keeps all. ended: serials of hidden tracks that are
    over, which are left out.
    """
    paired, track_ids = observed.tracked.paired, observed.tracked.track_ids
    labels, needed = paired.instances.labels, full_window(manifest.temporal)
    scores = expected_ious(probabilities.amodal, manifest.mask_threshold)
    rows = zip(predicted, scores, probabilities.frames.tolist(), strict=True)
    results = []
    for track_id, instance, window in zip(track_ids, paired.instances.instances, observed.windows, strict=True):
        if window is None:
            results.append(_not_inferred(track_id, instance))
            continue
        whole, score, frames = next(rows)
        status = Status.OK if frames >= needed else Status.SHORT_WINDOW
        amodal = _ruled(whole, instance.visible, labels, hidden_under)
        results.append(_result(track_id, instance, amodal, score, frames, status))
    for track, (whole, score, frames) in zip(observed.hidden, rows, strict=True):
        if track.serial not in ended:
            amodal = _ruled(whole, EMPTY_MASK, labels, hidden_under)
            results.append(_result(track.track_id, _unseen(track), amodal, score, frames, Status.INVISIBLE))
    frame = paired.frame
    found = AmodalFrame(frame.stamp_ns, frame.header, frame.height, frame.width, manifest.model_id, tuple(results))
    return in_order(found)


def full_window(temporal: TemporalSpec) -> int:
    """How many observations a model wants before its answer counts as complete."""
    return 1 if temporal.mode == "image" else temporal.window


def _ruled(predicted: PlacedMask, visible: PlacedMask, labels: NDArray[np.integer], hidden_under: str) -> PlacedMask:
    return keep_under_others(predicted, visible, labels) if hidden_under == "other_instances" else predicted


def _result(
    track_id: str, instance: VisibleInstance, amodal: PlacedMask, amodal_score: float, frames: int, status: Status
) -> AmodalInstance:
    area = amodal.area
    ratio = (area - count_common(amodal, instance.visible)) / max(area, 1)
    return AmodalInstance(
        track_id, instance.class_id, instance.score, instance.visible, amodal, amodal_score, ratio, (), frames, status
    )


def _unseen(track: HiddenTrack) -> VisibleInstance:
    score = track.score * math.exp(-track.unseen_ns * 1e-9 / SCORE_MEMORY_S)
    return VisibleInstance("", track.class_id, score, EMPTY_MASK)


def _not_inferred(track_id: str, instance: VisibleInstance) -> AmodalInstance:
    visible = instance.visible if not instance.visible.is_empty else EMPTY_MASK
    return AmodalInstance(
        track_id, instance.class_id, instance.score, visible, visible, 0.0, 0.0, (), 0, Status.NOT_INFERRED
    )
