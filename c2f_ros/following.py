"""Where a tracked object is, seen or not: its extent moves along with the image, and its crops stay aligned.

Pure logic, shared by training and runtime. A crop of rule `followed` is centred on the extent that the object's visible
pixels had so far, moved by what the image shows of its motion; so frames in memory can be laid over the newest one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from c2f_ros.contract import CropSpec
from c2f_ros.geometry import Box
from c2f_ros.motion import STILL, Similarity

EXTENT_MEMORY_S = 3.0
"""What is not seen any more of an extent is forgotten with this time constant, while other parts are seen."""
EXTENT_GROWTH = 0.25
"""An edge of the extent moves outwards by at most this share of its size in a frame: upstream may merge objects."""
EXTENT_SCALE = 1.5
"""The crop's side is at least this many times the extent's longer side."""
VELOCITY_SHARE = 0.3
"""Of the newest measurement in the velocity that is kept, if all of the extent is seen; less where less is: points on
the sliver beside an occluder follow the occluder, and just these frames come before an object vanishes."""
VELOCITY_MEMORY_S = 2.0
"""An unseen object's own velocity fades with this time constant: then it moves like the scene."""

Extent = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels, fractions allowed."""


@dataclass(frozen=True)
class Place:
    """Where a track is in a frame. anchor: takes pixels of the track's first frame to this one. velocity: of its centre
    against the scene, pixels per second (x, y). is_measured: whether that rests on anything. seen_ns: stamp of
    the last frame in which a pixel of it was visible."""

    stamp_ns: int
    extent: Extent
    anchor: Similarity
    velocity: tuple[float, float]
    is_measured: bool
    seen_ns: int

    @property
    def center(self) -> tuple[float, float]:
        left, top, right, bottom = self.extent
        return (left + right) / 2, (top + bottom) / 2


def first_place(stamp_ns: int, visible: Box) -> Place:
    """A track's place in its first frame."""
    return Place(stamp_ns, _edges(visible), STILL, (0.0, 0.0), False, stamp_ns)


def next_place(
    place: Place, stamp_ns: int, visible: Box | None, motion: Similarity | None, scene: Similarity | None
) -> Place:
    """The track's place in the next frame. visible: None if no pixel of it is seen; motion, scene: of
    `find_motions`. Without a motion of its own it moves like the scene and on with its own velocity."""
    duration = max((stamp_ns - place.stamp_ns) * 1e-9, 1e-3)
    behind = scene or STILL
    x, y = place.center
    velocity, is_measured = place.velocity, place.is_measured
    if motion is None:
        fading = math.exp(-(place.stamp_ns - place.seen_ns) * 1e-9 / VELOCITY_MEMORY_S)
        step = Similarity(behind.scale, behind.dx + velocity[0] * fading * duration,
                          behind.dy + velocity[1] * fading * duration)  # fmt: skip
    else:
        step = motion
        own, other = motion.at(x, y), behind.at(x, y)
        measured = ((own[0] - other[0]) / duration, (own[1] - other[1]) / duration)
        share = VELOCITY_SHARE * shown_share(place.extent, visible) if is_measured else 1.0
        velocity = tuple(old + share * (new - old) for old, new in zip(velocity, measured, strict=True))
        is_measured = True
    moved = _moved(place.extent, step)
    extent = moved if visible is None else _renewed(moved, _edges(visible), math.exp(-duration / EXTENT_MEMORY_S))
    seen_ns = place.seen_ns if visible is None else stamp_ns
    return Place(stamp_ns, extent, step.after(place.anchor), velocity, is_measured, seen_ns)


def followed_crop(place: Place, visible: Box | None, height: int, width: int, crop: CropSpec) -> Box:
    """The square to cut, centred on the extent: `crop.scale` times the longer visible side, at least `EXTENT_SCALE`
    times the extent's, at least `crop.min_side_fraction` of the image's shorter side. It may leave the image.

    A side that is twice the crop's size or more, or four times, is even, or a multiple of four, and so on: halving,
    which is cheap, does most of the resampling then.
    """
    left, top, right, bottom = place.extent
    side = max(EXTENT_SCALE * max(right - left, bottom - top), crop.min_side_fraction * min(height, width), 1.0)
    if visible is not None:
        side = max(side, crop.scale * max(visible.width, visible.height))
    x, y = place.center
    step = 1 << max(0, int(math.log2(side / crop.size)))
    pixels = max(1, step * round(side / step))
    x0, y0 = round(x - pixels / 2), round(y - pixels / 2)
    return Box(x0, y0, x0 + pixels, y0 + pixels)


def alignment(old_box: Box, old_anchor: Similarity, box: Box, anchor: Similarity) -> tuple[float, float, float]:
    """(a, bx, by): the point u of the crop `box` (x and y from -1 to 1) lay at a * u + (bx, by) in `old_box`.

    anchors: of the two frames' places. It is what lays the memory of an earlier frame over the newest crop.
    """
    back = old_anchor.after(anchor.inverse())
    x, y = back.at((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
    half = old_box.width / 2
    shift_x, shift_y = x - (old_box.x0 + old_box.x1) / 2, y - (old_box.y0 + old_box.y1) / 2
    return back.scale * box.width / 2 / half, shift_x / half, shift_y / half


def _edges(box: Box) -> Extent:
    return float(box.x0), float(box.y0), float(box.x1), float(box.y1)


def _moved(extent: Extent, step: Similarity) -> Extent:
    return (*step.at(*extent[:2]), *step.at(*extent[2:]))


def _renewed(moved: Extent, seen: Extent, kept: float) -> Extent:
    """`moved` drawn towards what is seen where it reaches beyond, and widened, not too fast, where it falls short."""
    wide = max(moved[2] - moved[0], moved[3] - moved[1], 8.0) * EXTENT_GROWTH
    low = (_low(old, new, kept, wide) for old, new in zip(moved[:2], seen[:2], strict=True))
    high = (-_low(-old, -new, kept, wide) for old, new in zip(moved[2:], seen[2:], strict=True))
    return (*low, *high)


def shown_share(extent: Extent, visible: Box | None) -> float:
    """Share of an extent that the box of visible pixels covers, 0..1; 1 where nothing is known."""
    area = (extent[2] - extent[0]) * (extent[3] - extent[1])
    return 1.0 if visible is None else min(1.0, visible.width * visible.height / max(area, 1.0))


def _low(old: float, new: float, kept: float, most: float) -> float:
    return max(new, old - most) if new < old else new - (new - old) * kept
