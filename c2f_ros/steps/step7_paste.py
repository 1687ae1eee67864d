"""Step 7: paste back. Crop probabilities become amodal masks in the image, with occlusion and who causes it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from c2f_ros.baselines import keep_under_others
from c2f_ros.contract import Manifest
from c2f_ros.crops import paste_window
from c2f_ros.geometry import EMPTY_MASK, FloatArray, PlacedMask, minus, union
from c2f_ros.metrics import expected_iou
from c2f_ros.occlusion_order import in_order
from c2f_ros.records import (
    AmodalFrame,
    AmodalInstance,
    MaskProbabilities,
    Observation,
    ObservedFrame,
    Status,
    VisibleInstance,
)

HIDDEN_UNDER = ("anything", "other_instances")


def paste_back(
    observed: ObservedFrame, probabilities: MaskProbabilities, manifest: Manifest, hidden_under: str
) -> AmodalFrame:
    """The frame's amodal masks, in the order of the upstream instances.

    probabilities: rows of the instances that have a window, in order. hidden_under: "other_instances" keeps hidden
    pixels only where another instance is visible (right only if every occluder is segmented); "anything" keeps all.
    """
    paired, track_ids = observed.tracked.paired, observed.tracked.track_ids
    labels = paired.instances.labels
    rows = iter(probabilities.amodal)
    results = []
    for track_id, instance, window in zip(track_ids, paired.instances.instances, observed.windows, strict=True):
        if window is None:
            results.append(_not_inferred(track_id, instance))
            continue
        probability = next(rows)
        amodal = whole_mask(probability, window, instance.visible, labels, manifest, hidden_under)
        hidden = minus(amodal, instance.visible)
        status = Status.OK if len(window) == manifest.temporal.window else Status.SHORT_WINDOW
        results.append(
            AmodalInstance(
                track_id, instance.class_id, instance.score, instance.visible, amodal,
                expected_iou(probability, manifest.mask_threshold), hidden.area / max(amodal.area, 1),
                (), len(window), status,
            )
        )  # fmt: skip
    frame = paired.frame
    found = AmodalFrame(frame.stamp_ns, frame.header, frame.height, frame.width, manifest.model_id, tuple(results))
    return in_order(found)


def whole_mask(
    probability: FloatArray,
    window: tuple[Observation, ...],
    visible: PlacedMask,
    labels: NDArray[np.integer],
    manifest: Manifest,
    hidden_under: str,
) -> PlacedMask:
    """The amodal mask in the image: what the model predicts, joined with every visible pixel."""
    height, width = labels.shape
    crop, temporal = manifest.crop, manifest.temporal
    predicted = paste_window(probability, window, crop, temporal, height, width, manifest.mask_threshold)
    if hidden_under == "other_instances":
        return keep_under_others(predicted, visible, labels)
    return union(predicted, visible)


def _not_inferred(track_id: str, instance: VisibleInstance) -> AmodalInstance:
    visible = instance.visible if not instance.visible.is_empty else EMPTY_MASK
    return AmodalInstance(
        track_id, instance.class_id, instance.score, visible, visible, 0.0, 0.0, (), 0, Status.NOT_INFERRED
    )
