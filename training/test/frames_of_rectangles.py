"""Hand-made frames whose objects are rectangles: quick to make, with numbers that can be worked out by hand."""

import numpy as np

from c2f_ros.geometry import place
from c2f_ros.records import SourceFrame, SourceObject

HEIGHT, WIDTH = 40, 60


def rectangle(x0, y0, x1, y1):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def frame_of(masks, seed=0):
    """Objects 1, 2 ... from back to front, each a whole mask bool [H, W]."""
    labels = np.zeros((HEIGHT, WIDTH), np.int32)
    for identity, mask in enumerate(masks, start=1):
        labels[mask] = identity
    objects = {k: SourceObject("thing", place(mask)) for k, mask in enumerate(masks, start=1)}
    rgb = np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    return SourceFrame(seed, rgb, labels, objects)


def two_frames():
    """Object 2 is half hidden by 3 in the first frame and free in the second; 1 is always hidden by 2."""
    first = [rectangle(12, 12, 16, 16), rectangle(10, 10, 30, 30), rectangle(20, 8, 40, 32)]
    second = [rectangle(12, 12, 16, 16), rectangle(10, 10, 30, 30), rectangle(32, 8, 52, 32)]
    return [frame_of(first, 0), frame_of(second, 1)]
