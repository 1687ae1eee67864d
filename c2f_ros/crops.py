"""An object's crop and the network's input: the same code in training, evaluation and on the robot."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from c2f_ros.contract import MASK_CHANNELS, InputSpec
from c2f_ros.geometry import (
    EMPTY_MASK,
    BoolArray,
    Box,
    ByteArray,
    FloatArray,
    PlacedMask,
    crop_inside,
    crop_mask,
    crop_pixels,
)

TO_RGB = {
    "rgb8": None,
    "bgr8": cv2.COLOR_BGR2RGB,
    "rgba8": cv2.COLOR_RGBA2RGB,
    "bgra8": cv2.COLOR_BGRA2RGB,
    "mono8": cv2.COLOR_GRAY2RGB,
}
"""Pixel layouts that are understood, and OpenCV's conversion to RGB."""


def to_rgb(pixels: ByteArray, encoding: str) -> ByteArray:
    """uint8 [h, w, 3] in RGB order; `encoding` is a key of `TO_RGB`. No copy if it is RGB already."""
    code = TO_RGB[encoding]
    return pixels if code is None else cv2.cvtColor(pixels, code)


def others_in(labels: NDArray[np.integer] | BoolArray, visible: PlacedMask, box: Box) -> PlacedMask:
    """Where `box` shows instances other than the one seen as `visible`; labels [H, W], 0 = no instance."""
    inside = box.clip(labels.shape[0], labels.shape[1])
    if inside.is_empty:
        return EMPTY_MASK
    found = labels[inside.slices] != 0
    own = visible.box.intersect(inside)
    if not own.is_empty:
        found[own.within(inside)] &= ~visible.mask[own.within(visible.box)]
    return PlacedMask(inside, found)


def cut_object(
    pixels: ByteArray,
    encoding: str,
    labels: NDArray[np.integer] | BoolArray,
    visible: PlacedMask,
    box: Box,
    size: int,
    mask_channels: Sequence[str] = MASK_CHANNELS,
) -> tuple[ByteArray, ByteArray]:
    """One object's crop: rgb uint8 [S, S, 3] and mask planes uint8 [M, S, S] in the order of `mask_channels`.

    pixels: the whole image [H, W, C]; only the crop is converted to RGB. labels: [H, W], 0 = no instance.
    """
    rgb = to_rgb(crop_pixels(pixels, box, size), encoding)
    planes = np.empty((len(mask_channels), size, size), np.uint8)
    for plane, name in zip(planes, mask_channels, strict=True):
        if name == "visible":
            plane[:] = crop_mask(visible, box, size)
        elif name == "others":
            plane[:] = crop_mask(others_in(labels, visible, box), box, size)
        else:
            plane[:] = crop_inside(box, labels.shape[0], labels.shape[1], size)
    return rgb, planes


def network_inputs(
    rgb: Sequence[ByteArray], masks: Sequence[ByteArray], spec: InputSpec
) -> tuple[FloatArray, FloatArray]:
    """image [N, 3, S, S] normalized with the manifest's mean and std, masks [N, M, S, S] in 0..1.

    rgb: N crops [S, S, 3]; masks: N stacks [M, S, S].
    """
    mean = np.asarray(spec.mean, np.float32)
    scale = (1.0 / (255.0 * np.asarray(spec.std, np.float32))).astype(np.float32)
    offset = (mean / np.asarray(spec.std, np.float32)).astype(np.float32)
    image = np.stack(rgb).transpose(0, 3, 1, 2) * scale[:, None, None] - offset[:, None, None]
    planes = np.stack(masks).astype(np.float32) * np.float32(1 / 255)
    return np.ascontiguousarray(image, np.float32), planes
