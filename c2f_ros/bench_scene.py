"""Scenes to time the path on: textured things that move before each other under a moving camera."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from c2f_ros.geometry import BoolArray, Box, ByteArray

SMALLEST, LARGEST = 0.08, 0.4
"""Sides of things, of the image's shorter side."""
PASSING = 0.14
"""Side of the largest thing that passes behind the wall."""
WALL_WIDTH, WALL_HEIGHT = 0.14, 0.8
"""The thing in front of all others, of the image's width and height: small things vanish behind it."""
EVEN = np.array([0.7549, 0.5698])
"""Multiples of it, modulo 1, fill a square evenly."""
SPEED = 0.012
"""The fastest thing's way from one frame to the next, of the image's width."""
PAN, PAN_PERIOD = 0.06, 50
"""The camera goes to and fro by this share of the image's width, in so many frames."""


@dataclass(frozen=True, eq=False)
class _Thing:
    """look: uint8 [h, w, 3]; shape: bool [h, w]; at: its middle in frame 0; way: to there it moves and back (x, y);
    period: frames to there and back."""

    look: ByteArray
    shape: BoolArray
    at: tuple[float, float]
    way: tuple[float, float]
    period: int

    def box(self, index: int, pan: int) -> Box:
        """Where it is in a frame whose camera has moved by `pan` columns."""
        share = abs((index / self.period) % 1.0 - 0.5) * 2.0  # 1 at first, 0 half-way, 1 again
        x, y = (at + (1.0 - share) * way for at, way in zip(self.at, self.way, strict=True))
        height, width = self.shape.shape
        x0, y0 = round(x - width / 2) - pan, round(y - height / 2)
        return Box(x0, y0, x0 + width, y0 + height)


class MovingScene:
    """`objects` things in images of `height` x `width`, the same for the same numbers on every machine.

    The one in front is a wall; a third of the others run along rows where it hides them for a while if they are small.
    """

    def __init__(self, height: int, width: int, objects: int, seed: int = 0) -> None:
        self.height, self.width = height, width
        rng = np.random.default_rng([seed, objects])
        self._margin = round(PAN * width) + 1
        self._backdrop = _texture(rng, height, width + 2 * self._margin)
        self._things = [self._thing(rng, k) for k in range(objects - 1)]
        if objects:
            self._things.append(self._wall(rng))

    def frame(self, index: int) -> tuple[ByteArray, NDArray[np.uint8]]:
        """The image uint8 [H, W, 3] in RGB, and labels uint8 [H, W]: the number of the thing seen, 0 for none."""
        pan = round((self._margin - 1) * np.sin(2 * np.pi * index / PAN_PERIOD))
        first = self._margin + pan
        pixels = self._backdrop[:, first : first + self.width].copy()
        labels = np.zeros((self.height, self.width), np.uint8)
        for number, thing in enumerate(self._things, 1):
            box = thing.box(index, pan)
            inside = box.clip(self.height, self.width)
            if inside.is_empty:
                continue
            shape = thing.shape[inside.within(box)]
            np.copyto(pixels[inside.slices], thing.look[inside.within(box)], where=shape[..., None])
            labels[inside.slices][shape] = number
        return pixels, labels

    def _thing(self, rng: np.random.Generator, number: int) -> _Thing:
        is_passing = number % 3 == 0
        least = min(self.height, self.width)
        side = np.exp(rng.uniform(np.log(SMALLEST), np.log(PASSING if is_passing else LARGEST))) * least
        height, width = (max(8, round(side * factor)) for factor in (1.0, rng.uniform(0.6, 1.4)))
        rows, columns = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        power = rng.choice([2.0, 6.0])  # an ellipse, or a rectangle with round corners
        shape = np.abs(rows) ** power + np.abs(columns) ** power <= 1.0
        x, y = (0.1 + 0.8 * (EVEN * number % 1.0)) * (self.width, self.height)
        reach = rng.uniform(0.1, 0.3, 2) * (self.width, self.height) * rng.choice([-1, 1], 2)
        if is_passing:
            x, y, reach = 0.2 * self.width, rng.uniform(0.25, 0.75) * self.height, np.array([0.6 * self.width, 0.0])
        period = int(2 * np.hypot(*reach) / (SPEED * self.width * rng.uniform(0.5, 1.0)))
        return _Thing(_texture(rng, height, width), shape, (float(x), float(y)), tuple(reach.tolist()), max(2, period))

    def _wall(self, rng: np.random.Generator) -> _Thing:
        height, width = round(WALL_HEIGHT * self.height), round(WALL_WIDTH * self.width)
        look, shape = _texture(rng, height, width), np.ones((height, width), bool)
        return _Thing(look, shape, (0.55 * self.width, 0.5 * self.height), (0.0, 0.0), 2)


def _texture(rng: np.random.Generator, height: int, width: int) -> ByteArray:
    """uint8 [height, width, 3]: blobs of several sizes around a colour, which optical flow can follow."""
    total = np.zeros((height, width, 3), np.float32)
    for size in (5, 14, 40):
        noise = rng.random((height // size + 2, width // size + 2, 3), np.float32) - np.float32(0.5)
        total += cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip(80.0 * total + rng.uniform(70, 185, 3).astype(np.float32), 0, 255).astype(np.uint8)
