"""Ground truth of a recorded frame, in the form that results have."""

from __future__ import annotations

from typing import Any

from c2f_ros.geometry import EMPTY_MASK, PlacedMask, minus
from c2f_ros.occlusion_order import in_order
from c2f_ros.records import AmodalFrame, AmodalInstance, SourceFrame, Status
from c2f_ros.sources.predicted import MatchedObject
from c2f_ros.steps.step1_read import instances_of_labels

TRUTH_MODEL_ID = "ground_truth"


def truth_frame(frame: SourceFrame, header: Any) -> AmodalFrame | None:
    """All objects whose whole mask is known, hidden ones too (status INVISIBLE); None if that is none.

    Track ids are the objects' ids in decimal. Visible masks are the true ones, also where the labels hold others.
    header: of the image.
    """
    seen = instances_of_labels(frame.stamp_ns, frame.labels).instances
    visible = {item.upstream_id: item.visible for item in seen}
    visible |= {str(k): item.true_visible for k, item in frame.objects.items() if isinstance(item, MatchedObject)}
    instances = tuple(
        _truth_instance(str(identity), item.class_id, visible.get(str(identity), EMPTY_MASK), item.amodal)
        for identity, item in frame.objects.items()
        if item.amodal is not None
    )
    if not instances:
        return None
    height, width = frame.labels.shape
    return in_order(AmodalFrame(frame.stamp_ns, header, height, width, TRUTH_MODEL_ID, instances))


def _truth_instance(track_id: str, class_id: str, visible: PlacedMask, amodal: PlacedMask) -> AmodalInstance:
    hidden = minus(amodal, visible)
    area = amodal.area
    return AmodalInstance(
        track_id=track_id,
        class_id=class_id,
        score=1.0,
        visible=visible,
        amodal=amodal,
        amodal_score=1.0,
        occlusion_ratio=hidden.area / area if area else 0.0,
        occluded_by=(),
        frames_used=1,
        status=Status.INVISIBLE if visible.is_empty else Status.OK,
    )
