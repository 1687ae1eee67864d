"""Scenes of textured rectangles that move before each other, as an upstream segmenter would send them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from frames import header

from c2f_ros.geometry import Box, PlacedMask, place
from c2f_ros.records import Frame, Instances, PairedFrame, VisibleInstance

UNIT = 3
"""Pixels. Scenes are laid out in units of it: optical flow wants objects of some size."""
ROWS, COLUMNS = 96 * UNIT, 160 * UNIT
STEP_NS = 50_000_000


@dataclass(frozen=True)
class Thing:
    """A rectangle (x0, y0, x1, y1), in units, as upstream names it. Without a name it is drawn, but not sent."""

    name: str
    box: tuple[int, int, int, int]
    class_id: str = ""
    score: float = 0.8
    look: int = 1


@cache
def texture(seed: int, rows: int, columns: int) -> np.ndarray:
    """uint8 [rows, columns, 3]: blobs of several sizes, which optical flow can follow."""
    rng, total = np.random.default_rng(seed), np.zeros((rows, columns, 3))
    for size in (4, 12, 36):
        noise = rng.random((rows // size + 2, columns // size + 2, 3)).astype(np.float32)
        total += cv2.resize(noise, (columns, rows), interpolation=cv2.INTER_CUBIC) / 3
    return (255 * total.clip(0, 1)).astype(np.uint8)


def scene(stamp_ns: int, *things: Thing, pan: int = 0) -> PairedFrame:
    """The frame that shows these, the last one in front, on a background moved by `pan` units to the right.

    Things without a visible pixel are not sent.
    """
    wide = texture(0, ROWS, 3 * COLUMNS)
    pixels = wide[:, COLUMNS - pan * UNIT : 2 * COLUMNS - pan * UNIT].copy()
    labels = np.zeros((ROWS, COLUMNS), np.int32)
    for index, thing in enumerate(things):
        box = in_pixels(thing.box)
        inside = box.clip(ROWS, COLUMNS)
        if not inside.is_empty:
            look = texture(thing.look, box.height, box.width)
            pixels[inside.slices] = look[inside.within(box)]
            labels[inside.slices] = index + 1 if thing.name else 0
    seen = [(t, place(labels == k + 1)) for k, t in enumerate(things) if t.name and (labels == k + 1).any()]
    return sent(stamp_ns, pixels, [VisibleInstance(t.name, t.class_id, t.score, mask) for t, mask in seen])


def sent(stamp_ns: int, pixels: np.ndarray, instances: Sequence[VisibleInstance]) -> PairedFrame:
    """The frame with these instances, which may have no id."""
    labels = np.zeros(pixels.shape[:2], np.uint8)
    for index, instance in enumerate(instances):
        labels[instance.visible.box.slices][instance.visible.mask] = index + 1
    frame = Frame(stamp_ns, header(stamp_ns), pixels, "rgb8", 0.0)
    return PairedFrame(frame, Instances(stamp_ns, tuple(instances), labels))


def in_pixels(box: tuple[int, int, int, int]) -> Box:
    """A rectangle of units."""
    return Box(*(UNIT * edge for edge in box))


def rectangle(box: tuple[int, int, int, int]) -> PlacedMask:
    """A mask that fills a rectangle of units."""
    filled = in_pixels(box)
    return PlacedMask(filled, np.ones((filled.height, filled.width), bool))
