"""The worst and best cases of an evaluation, each with the small piece of the image needed to draw it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from c2f_ros.geometry import BoolArray, Box, ByteArray, PlacedMask

CASE_SIDE = 320
"""Pictures of cases are shrunk to this many pixels."""


@dataclass(frozen=True, eq=False)
class CasePicture:
    """What is needed to draw a case: rgb uint8 [h, w, 3], masks bool [h, w]."""

    rgb: ByteArray
    visible: BoolArray
    truth: BoolArray
    predicted: BoolArray


@dataclass(frozen=True)
class Case:
    """One object in one frame. key: `clip/object`; frame: its number in the clip; IoU and occlusion 0..1; box: the part
    of the image shown. A case read from JSON has no picture."""

    key: str
    frame: int
    full_iou: float
    occluded_iou: float
    occlusion: float
    box: tuple[int, int, int, int]
    picture: CasePicture | None = field(default=None, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Everything but the picture."""
        return {key: value for key, value in self.__dict__.items() if key != "picture"}


@dataclass
class Extremes:
    """The `most` worst or best cases by full IoU, one per object. sign: 1 keeps the lowest, -1 the highest."""

    most: int
    sign: int
    cases: dict[str, Case] = field(default_factory=dict)

    def wants(self, key: str, full_iou: float) -> bool:
        """Whether a case with this IoU would be kept."""
        rank = self.sign * full_iou
        if key in self.cases:
            return rank < self.sign * self.cases[key].full_iou
        return len(self.cases) < self.most or any(rank < self.sign * c.full_iou for c in self.cases.values())

    def add(self, case: Case) -> None:
        """Keep a wanted case; the one that is no longer among the `most` goes."""
        self.cases[case.key] = case
        if len(self.cases) > self.most:
            del self.cases[max(self.cases.values(), key=lambda c: self.sign * c.full_iou).key]

    def sorted(self) -> list[Case]:
        """The most extreme first."""
        return sorted(self.cases.values(), key=lambda c: self.sign * c.full_iou)


def case_picture(
    image: ByteArray, visible: PlacedMask, truth: PlacedMask, predicted: PlacedMask
) -> tuple[Box, CasePicture]:
    """The part of the image [H, W, 3] around the object, a fifth larger on each side: its box, and its picture of at
    most `CASE_SIDE` pixels."""
    height, width = image.shape[:2]
    box = truth.box.enclose(visible.box).enclose(predicted.box)
    margin = max(4, round(0.2 * max(box.width, box.height)))
    box = Box(box.x0 - margin, box.y0 - margin, box.x1 + margin, box.y1 + margin).clip(height, width)
    factor = min(1.0, CASE_SIDE / max(box.width, box.height))
    size = (max(1, round(box.width * factor)), max(1, round(box.height * factor)))
    masks = (
        cv2.resize(_cut(mask, box).view(np.uint8) * np.uint8(255), size, interpolation=cv2.INTER_AREA) > 127
        for mask in (visible, truth, predicted)
    )
    rgb = cv2.resize(np.ascontiguousarray(image[box.slices]), size, interpolation=cv2.INTER_AREA)
    return box, CasePicture(rgb, *masks)


def _cut(mask: PlacedMask, box: Box) -> BoolArray:
    out = np.zeros((box.height, box.width), bool)
    if not mask.box.is_empty:
        out[mask.box.within(box)] = mask.mask
    return out
