"""Step 5: batch. The window of every inferred object becomes one row of the network's input."""

from __future__ import annotations

from c2f_ros.contract import Manifest
from c2f_ros.crops import window_inputs
from c2f_ros.records import Batch, ObservedFrame


def make_batch(observed: ObservedFrame, manifest: Manifest) -> Batch:
    """Rows follow the frame's instances, leaving out those without a window. No object gives N = 0."""
    windows = [window for window in observed.windows if window is not None]
    return Batch(*window_inputs(windows, manifest.crop, manifest.input, manifest.temporal))
