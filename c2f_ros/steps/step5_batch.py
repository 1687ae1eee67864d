"""Step 5: batch. The newest observation of every inferred object becomes one row of the network's input."""

from __future__ import annotations

import numpy as np

from c2f_ros.contract import Manifest
from c2f_ros.crops import network_inputs
from c2f_ros.records import Batch, ObservedFrame


def make_batch(observed: ObservedFrame, manifest: Manifest) -> Batch:
    """Rows follow the frame's instances, leaving out those without a window. No object gives N = 0."""
    newest = [window[-1] for window in observed.windows if window is not None]
    if not newest:
        size, planes = manifest.crop.size, len(manifest.input.mask_channels)
        return Batch(np.zeros((0, 3, size, size), np.float32), np.zeros((0, planes, size, size), np.float32))
    image, masks = network_inputs([o.rgb for o in newest], [o.masks for o in newest], manifest.input)
    return Batch(image, masks)
