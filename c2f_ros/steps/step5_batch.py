"""Step 5: batch. The window of every inferred object becomes one row of the network's input."""

from __future__ import annotations

import numpy as np

from c2f_ros.contract import Manifest
from c2f_ros.crops import filled_sizes, frame_inputs, window_inputs
from c2f_ros.geometry import FloatArray
from c2f_ros.records import Batch, Observation, ObservedFrame

Window = tuple[Observation, ...]


def make_batch(observed: ObservedFrame, manifest: Manifest) -> Batch:
    """Rows follow the frame's instances, leaving out those without a window, then its hidden objects. No object gives
    N = 0."""
    temporal = manifest.temporal
    windows = [window for window in observed.windows if window is not None]
    windows += [track.window for track in observed.hidden]
    frames = tuple(len(window[-temporal.frames :]) for window in windows)
    if manifest.frame_graph is not None:
        return Batch(*_newest(windows, manifest), frames=frames, windows=tuple(windows))
    image, masks = window_inputs(windows, manifest.crop, manifest.input, temporal)
    if temporal.mode != "stream":
        return Batch(image, masks, frames=frames)
    serials = [serial for serial in observed.serials if serial is not None]
    serials += [track.serial for track in observed.hidden]
    boxes, anchors = (tuple(getattr(window[-1], name) for window in windows) for name in ("box", "anchor"))
    return Batch(image, masks, tuple(serials), boxes, anchors, frames)


def _newest(windows: list[Window], manifest: Manifest) -> tuple[FloatArray, FloatArray]:
    """image [N, 3, S, S] and masks [N, M, S, S] of each window's newest frame, at the scale that the window gives."""
    crop, spec = manifest.crop, manifest.input
    if not windows:
        size = crop.size
        return np.zeros((0, 3, size, size), np.float32), np.zeros((0, len(spec.mask_channels), size, size), np.float32)
    seen = [window[-manifest.temporal.window :] for window in windows]
    sizes = [filled_sizes(window, crop)[-1] for window in seen]
    return frame_inputs([window[-1] for window in seen], sizes, crop, spec)
