"""Amodal masks without any learning: what a model must beat."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from c2f_ros.geometry import PlacedMask, tighten, union

BASELINES = ("visible", "hull", "clipped_hull")


def hull(visible: PlacedMask) -> PlacedMask:
    """The filled convex hull of the visible pixels."""
    points = cv2.findNonZero(visible.mask.view(np.uint8))
    if points is None:
        return visible
    out = np.zeros(visible.mask.shape, np.uint8)
    cv2.fillConvexPoly(out, cv2.convexHull(points), 1)
    return union(visible, PlacedMask(visible.box, out.view(np.bool_)))


def keep_under_others(amodal: PlacedMask, visible: PlacedMask, labels: NDArray[np.integer]) -> PlacedMask:
    """`amodal` cut down to the rule "hidden only under other objects".

    labels: [H, W], 0 where no instance is visible. A predicted pixel outside the visible mask stays only where
    some other instance is visible. The rule holds only if every occluder is segmented.
    """
    if amodal.box.is_empty:
        return visible
    kept = PlacedMask(amodal.box, amodal.mask & (labels[amodal.box.slices] != 0))
    return tighten(union(kept, visible))


def baseline(name: str, visible: PlacedMask, labels: NDArray[np.integer]) -> PlacedMask:
    """The amodal mask by baseline `name` (one of `BASELINES`)."""
    if name == "visible":
        return visible
    if name == "hull":
        return hull(visible)
    if name == "clipped_hull":
        return keep_under_others(hull(visible), visible, labels)
    raise ValueError(f"baseline is {name!r}, expected one of {', '.join(BASELINES)}")
