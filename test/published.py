"""The parity fixture of the published model, and the manifest records of its preprocessing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from c2f_ros.contract import CropSpec, InputSpec, TemporalSpec
from c2f_ros.crops import Bounds, observe_object
from c2f_ros.geometry import place
from c2f_ros.records import Observation

CROP = CropSpec("stretched", 256, 2.0, 0.0)
INPUT = InputSpec("rgb", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), ("visible",))
IMAGE = TemporalSpec("image", 1)


def bits(packed: np.ndarray, *shape: int) -> np.ndarray:
    return np.unpackbits(packed)[: int(np.prod(shape))].reshape(shape).astype(bool)


def probability(logit: np.ndarray) -> np.ndarray:
    """float32 [2h, 2w]: the published last step, nearest x2 and sigmoid."""
    doubled = logit.repeat(2, axis=0).repeat(2, axis=1)
    return (1 / (1 + np.exp(-doubled.astype(np.float64)))).astype(np.float32)


def observe(pixels: np.ndarray, visible: np.ndarray, bounds: Bounds | None, stamp_ns: int = 0) -> Observation:
    return observe_object(pixels, "rgb8", visible, place(visible), CROP, ("visible",), stamp_ns, bounds)


class Clip:
    """video_clip.npz: `window` holds one observation per frame, cut around the published boxes."""

    def __init__(self, shared: Path) -> None:
        self.data = data = np.load(shared / "fixtures" / "c2f_seg_parity" / "video_clip.npz")
        self.frames, self.seg = data["frames"], data["seg"]
        self.count, self.height, self.width = self.seg.shape
        self.temporal = TemporalSpec("window", self.count)
        self.window = [
            observe(self.frames[t], self.seg[t] == data["value"], self.bounds(t), t) for t in range(self.count)
        ]

    def bounds(self, frame: int) -> Bounds:
        """The stored box, or, where there is none, that of the largest part of the whole mask (spec 2.1)."""
        stored = {int(t): box for t, box in zip(self.data["bbox_frames"], self.data["boxes"], strict=True)}
        if frame in stored:
            y0, x0, y1, x1 = stored[frame]
            top, left = int(self.height * y0), int(self.width * x0)
            return left, top, int(self.width * x1) - left, int(self.height * y1) - top
        whole = bits(self.data["full_bits"], *self.seg.shape)[frame]
        parts, _ = ndimage.label(whole, np.ones((3, 3)))
        rows, columns = np.nonzero(parts == 1 + np.argmax(np.bincount(parts.ravel())[1:]))
        left, top = int(columns.min()), int(rows.min())
        return left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top
