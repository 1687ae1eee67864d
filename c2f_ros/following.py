"""Where a tracked object is, seen or not: its extent moves along with the image, and its crops stay aligned.

Pure logic, shared by training and runtime. A crop of rule `followed` is centred on the extent that the object's visible
pixels had so far, and what was predicted of it, moved by what the image shows of its motion; so frames in memory can be
laid over the newest one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from c2f_ros.contract import CropSpec
from c2f_ros.extents import Extent, Labels, extent_of, joined, longer_side, moved_extent, renewed_extent
from c2f_ros.geometry import Box, PlacedMask
from c2f_ros.motion import STILL, Similarity
from c2f_ros.parallax import Mover, Parallax

EXTENT_SCALE = 1.5
"""The crop's side is at least this many times the extent's longer side."""
WHOLE_SCALE = 1.3
"""And this many times that of the extent and the predicted whole together, where there is a prediction: what is known
to be large needs less room around it."""
FLOW_ERROR, FLOW_ERROR_POWER = 0.01, 1.5
"""Standard error of a measured step, in object sizes, where all of the object is seen; where a share is seen it is
divided by that share to this power: points on the sliver beside an occluder follow the occluder, and just these
frames come before an object vanishes."""
WELL_SEEN = 0.6
"""An object of which more than this is seen is where it was measured; its velocity is filtered all the same."""
FIRST_DOUBT = 3.0
"""Standard error of a velocity that rests on nothing, object sizes per second."""
ACCELERATION = 0.35
"""How fast an object's velocity becomes doubtful: object sizes per second, per square root of a second."""
PARALLAX_S = 2.0
"""A velocity as doubtful as those of standing objects differ becomes that of what stands where the object stands with
this time constant; a better one more slowly."""
MOST_MEMORY_S = 8.0
"""The most pixels that were seen of an object are forgotten with this time constant."""
MOST_GROWTH = 1.6
"""They grow by at most this factor in a frame: upstream may merge objects."""


@dataclass(frozen=True)
class Place:
    """Where a track is in a frame. anchor: takes pixels of the track's first frame to this one. velocity: of its centre
    against the scene, pixels per second (x, y); doubt: its variance, None in the first frame. most_pixels: the
    most that were seen of it, at its size now. seen_ns: stamp of the last frame in which a pixel of it was visible."""

    stamp_ns: int
    extent: Extent
    anchor: Similarity
    velocity: tuple[float, float]
    doubt: float | None
    most_pixels: float
    seen_ns: int

    @property
    def center(self) -> tuple[float, float]:
        left, top, right, bottom = self.extent
        return (left + right) / 2, (top + bottom) / 2

    @property
    def standing(self) -> Mover | None:
        """As one of the objects that show the parallax; None in its first frame."""
        if self.doubt is None:
            return None
        return Mover(self.extent[3], self.velocity, math.sqrt(self.doubt), self.size)

    @property
    def is_steady(self) -> bool:
        """Whether its velocity rests on something."""
        return self.doubt is not None and self.doubt < (0.5 * FIRST_DOUBT * self.size) ** 2

    @property
    def size(self) -> float:
        """The longer side of its extent, at least 8."""
        return max(longer_side(self.extent), 8.0)

    def shown_share(self, pixels: int) -> float:
        """Which share of the most that was seen of it so many visible pixels are, 0..1."""
        return min(1.0, pixels / max(self.most_pixels, 1.0))


def first_place(stamp_ns: int, visible: PlacedMask) -> Place:
    """A track's place in its first frame."""
    return Place(stamp_ns, extent_of(visible.box), STILL, (0.0, 0.0), None, visible.area, stamp_ns)


def next_place(
    place: Place,
    stamp_ns: int,
    visible: PlacedMask | None,
    motion: Similarity | None,
    scene: Similarity | None,
    parallax: Parallax | None = None,
    labels: Labels | None = None,
) -> Place:
    """The track's place in the next frame. visible: None if no pixel of it is seen; motion: its own, of `find_motions`;
    scene: what moves everything, and parallax: how fast what stands still moves against that, of `Follower`; labels:
    [H, W] of the frame, 0 where no instance is; None: unknown.

    A Kalman filter on the velocity: without a motion of its own the object moves with the scene and on with its own
    velocity, which becomes that of its surroundings as it becomes doubtful; with one as measured, as far as that can
    be trusted, which is by how much of it is seen.
    """
    duration = max((stamp_ns - place.stamp_ns) * 1e-9, 1e-3)
    pixels = 0 if visible is None else visible.area
    x, y = place.center
    drawn = (0.0, 0.0) if scene is None else _shift(scene, x, y)
    velocity, doubt = place.velocity, place.doubt
    if doubt is None:  # the scene's motion is known up to a constant; until more is known the object stands still
        velocity = (-drawn[0] / duration, -drawn[1] / duration)
    else:
        doubt += (ACCELERATION * place.size) ** 2 * duration
        if parallax is not None:
            velocity, doubt = _as_it_stands(place, velocity, doubt, parallax, duration)
    step, scale = _plus(drawn, velocity, duration), 1.0
    if motion is not None:
        share = place.shown_share(pixels)
        error = (FLOW_ERROR * place.size / max(share, 0.02) ** FLOW_ERROR_POWER / duration) ** 2
        surprise = _plus(_shift(motion, x, y), step, -1)
        gain = 1.0 if doubt is None else _gain(math.hypot(*surprise) / duration, doubt, error, share)
        step = _plus(step, surprise, 1.0 if share > WELL_SEEN else gain)
        velocity = _plus(velocity, surprise, gain / duration)
        doubt = error if doubt is None else (1 - gain) * doubt
        scale = motion.scale if share > WELL_SEEN else motion.scale**gain
    doubt = (FIRST_DOUBT * place.size) ** 2 if doubt is None else doubt
    moving = Similarity(scale, x + step[0] - scale * x, y + step[1] - scale * y)
    extent = moved_extent(place.extent, moving)
    most = place.most_pixels * scale**2
    if visible is not None:
        unseen_s = 0.0 if place.seen_ns == place.stamp_ns else (stamp_ns - place.seen_ns) * 1e-9
        extent = renewed_extent(extent, visible.box, duration, unseen_s, labels)
        most = max(most * math.exp(-duration / MOST_MEMORY_S), min(pixels, MOST_GROWTH * most))
    seen_ns = place.seen_ns if visible is None else stamp_ns
    return Place(stamp_ns, extent, moving.after(place.anchor), velocity, doubt, most, seen_ns)


def _as_it_stands(
    place: Place, velocity: tuple[float, float], doubt: float, parallax: Parallax, duration: float
) -> tuple[tuple[float, float], float]:
    """A velocity and its variance after a while in which it fades into that of what stands where the object does."""
    standing, variance = parallax.at(place.extent[3]), parallax.spread**2
    kept = math.exp(-duration / PARALLAX_S * doubt / variance)
    return _plus(standing, _plus(velocity, standing, -1), kept), doubt * kept**2 + variance * (1 - kept**2)


def _gain(surprise: float, doubt: float, error: float, share: float) -> float:
    """Which share of a surprise (pixels per second) is believed: Kalman's, less where it is larger than doubt and
    error (variances) explain, unless all of the object is seen."""
    allowed = math.sqrt(doubt + error) / max(1 - share, 1e-3)
    return doubt / (doubt + error) / max(1.0, surprise / allowed)


def _shift(motion: Similarity, x: float, y: float) -> tuple[float, float]:
    """How far (x, y) goes."""
    there = motion.at(x, y)
    return there[0] - x, there[1] - y


def _plus(first: tuple[float, float], second: tuple[float, float], times: float) -> tuple[float, float]:
    return first[0] + times * second[0], first[1] + times * second[1]


def followed_crop(
    place: Place, visible: Box | None, height: int, width: int, crop: CropSpec, whole: Extent | None = None
) -> Box:
    """The square to cut, centred on the extent: `crop.scale` times the longer visible side, at least `EXTENT_SCALE`
    times the extent's, at least `crop.min_side_fraction` of the image's shorter side. It may leave the image.

    whole: what a model took for the whole object, moved to this frame, if it did; then both of them are in the crop:
    an object of which a sliver was ever seen would not fit into one around that.
    A side that is twice the crop's size or more, or four times, is even, or a multiple of four, and so on: halving,
    which is cheap, does most of the resampling then.
    """
    extent = place.extent if whole is None else joined([place.extent, whole])
    side = (EXTENT_SCALE if whole is None else WHOLE_SCALE) * longer_side(extent)
    side = max(side, crop.min_side_fraction * min(height, width), 1.0)
    if visible is not None:
        side = max(side, crop.scale * max(visible.width, visible.height))
    x, y = (extent[0] + extent[2]) / 2, (extent[1] + extent[3]) / 2
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
