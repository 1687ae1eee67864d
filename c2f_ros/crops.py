"""From an object in an image to the network's input, and from its output back: the same code in training, evaluation
and on the robot, whatever the manifest's crop rule and temporal mode."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from c2f_ros.contract import MASK_CHANNELS, CropSpec, InputError, InputSpec, TemporalSpec
from c2f_ros.geometry import (
    EMPTY_MASK,
    BoolArray,
    Box,
    ByteArray,
    FloatArray,
    PlacedMask,
    common_sizes,
    crop_inside,
    crop_mask,
    crop_pixels,
    cut_mask,
    paste_probability,
    square_crop,
    stretched_crop,
    tighten,
)
from c2f_ros.records import Observation
from c2f_ros.resampling import linear_antialiased, nearest, shrink_or_stretch

UNSEEN_THRESHOLD, UNSEEN_S = 0.25, 0.2
"""While no pixel of an object is seen the threshold of its mask falls to this, with this time constant in seconds: the
mask that overlaps the truth best in the mean is larger the less is known of where it lies."""
Bounds = tuple[float, float, float, float]
"""A box as the published data have it: left, top, width, height, in pixels, fractions allowed."""

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
        part = found[own.within(inside)]
        np.greater(part, visible.mask[own.within(visible.box)], out=part)  # and not
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
    mean, std = np.asarray(spec.mean, np.float32), np.asarray(spec.std, np.float32)
    scale, offset = (1.0 / (255.0 * std)).astype(np.float32), (mean / std).astype(np.float32)
    stacked = np.stack(rgb).transpose(0, 3, 1, 2)
    image = np.empty(stacked.shape, np.float32)
    np.multiply(stacked, scale[:, None, None], out=image)
    image -= offset[:, None, None]
    return image, np.multiply(np.stack(masks), np.float32(1 / 255), dtype=np.float32)


def observe_object(
    pixels: ByteArray,
    encoding: str,
    labels: NDArray[np.integer] | BoolArray,
    visible: PlacedMask,
    crop: CropSpec,
    mask_channels: Sequence[str],
    stamp_ns: int,
    bounds: Bounds | None = None,
) -> Observation:
    """One object in one frame, cut by the manifest's rule.

    pixels: the whole image [H, W, C]; only the cut is converted to RGB. labels: [H, W], 0 = no instance.
    bounds: the box to cut around where it is not that of the visible pixels, as published data bring their own; rule
    `square` rounds it outwards.
    Raises InputError if there is nothing to cut around: no visible pixel and no bounds, or bounds outside the image.
    """
    height, width = labels.shape
    if bounds is None and visible.is_empty:
        raise InputError("object has no visible pixel to cut around; leave it out, or pass its box")
    if crop.rule == "square":
        around = visible.box if bounds is None else _outwards(bounds)
        box = square_crop(around, height, width, crop.scale, crop.min_side_fraction)
        return Observation(stamp_ns, box, *cut_object(pixels, encoding, labels, visible, box, crop.size, mask_channels))
    box = stretched_crop(*(_bounds(tighten(visible).box) if bounds is None else bounds), height, width, crop.scale)
    if box.is_empty:
        raise InputError(
            f"box (left, top, width, height) {bounds} shows nothing of an image of {height} rows and {width} columns; "
            "pass a box inside the image"
        )
    rgb = to_rgb(pixels[box.slices].copy(), encoding)
    return Observation(stamp_ns, box, rgb, _raw_planes(labels, visible, box, mask_channels))


def _bounds(box: Box) -> Bounds:
    return box.x0, box.y0, box.width, box.height


def _outwards(bounds: Bounds) -> Box:
    left, top, width, height = bounds
    return Box(math.floor(left), math.floor(top), math.ceil(left + width), math.ceil(top + height))


def _raw_planes(
    labels: NDArray[np.integer] | BoolArray, visible: PlacedMask, box: Box, mask_channels: Sequence[str]
) -> ByteArray:
    """uint8 [M, h, w], 0 or 255: the mask planes in `box`, which lies inside the image."""
    masks = np.empty((len(mask_channels), box.height, box.width), np.uint8)
    for plane, name in zip(masks, mask_channels, strict=True):
        if name == "inside":
            plane[:] = 255
        else:
            shown = visible if name == "visible" else others_in(labels, visible, box)
            plane[:] = cut_mask(shown, box).view(np.uint8) * np.uint8(255)
    return masks


def window_inputs(
    windows: Sequence[Sequence[Observation]], crop: CropSpec, spec: InputSpec, temporal: TemporalSpec
) -> tuple[FloatArray, FloatArray]:
    """image [N, 3, S, S] and masks [N, M, S, S] of N windows; in mode `window` [N, T, 3, S, S] and [N, T, M, S, S].

    windows: each with at least one observation, oldest first; the last T count. A shorter one is filled by repeating
    its oldest in front. Values as `InputSpec` says; what a crop does not fill is black, masks 0. No window gives N = 0.
    """
    frames, size, planes = temporal.frames, crop.size, len(spec.mask_channels)
    if crop.rule != "stretched" and windows:  # every cut has its size already: all in one go
        seen = [one for window in windows for one in _filled(window[-frames:], frames)]
        found = network_inputs([one.rgb for one in seen], [one.masks for one in seen], spec)
        image, masks = (array.reshape(len(windows), frames, *array.shape[1:]) for array in found)
    else:
        image = np.empty((len(windows), frames, 3, size, size), np.float32)
        masks = np.empty((len(windows), frames, planes, size, size), np.float32)
        for row, window in enumerate(windows):
            kept = window[-frames:]
            first = frames - len(kept)
            image[row, first:], masks[row, first:] = frame_inputs(kept, filled_sizes(kept, crop), crop, spec)
            image[row, :first], masks[row, :first] = image[row, first], masks[row, first]
    if temporal.mode == "window":
        return image, masks
    return image[:, 0], masks[:, 0]


def _filled(window: Sequence[Observation], frames: int) -> list[Observation]:
    """The window with its oldest observation repeated in front, until they are so many."""
    return [window[0]] * (frames - len(window)) + list(window)


def filled_sizes(window: Sequence[Observation], crop: CropSpec) -> list[tuple[int, int]]:
    """Rows and columns of [S, S] that each cut fills; in a stretched window all are scaled alike."""
    if crop.rule == "stretched":
        return common_sizes([o.box for o in window], crop.size)
    return [(crop.size, crop.size)] * len(window)


def frame_inputs(
    seen: Sequence[Observation], sizes: Sequence[tuple[int, int]], crop: CropSpec, spec: InputSpec
) -> tuple[FloatArray, FloatArray]:
    """image [F, 3, S, S] and masks [F, M, S, S] of F observations, at least one, whose cuts fill `sizes`."""
    if crop.rule == "stretched":
        return _stretched_inputs(seen, sizes, crop.size, spec)
    return network_inputs([o.rgb for o in seen], [o.masks for o in seen], spec)


def paste_window(
    probability: FloatArray,
    window: Sequence[Observation],
    crop: CropSpec,
    temporal: TemporalSpec,
    height: int,
    width: int,
    threshold: float,
) -> PlacedMask:
    """Where the network's map [S, S] for the newest frame of `window` exceeds `threshold`, in the image of that frame.

    The inverse of `window_inputs`. Nothing above the threshold gives `EMPTY_MASK`. While no pixel of the object is seen
    the threshold falls, see `UNSEEN_THRESHOLD`.
    """
    threshold = lowered(threshold, window[-1].unseen_ns)
    if crop.rule != "stretched":
        return paste_probability(probability, window[-1].box, height, width, threshold)
    seen = window[-temporal.frames :]
    return tighten(PlacedMask(seen[-1].box, unstretch(probability, [o.box for o in seen], -1) > threshold))


def lowered(threshold: float, unseen_ns: int) -> float:
    """The threshold for an object of which no pixel has been visible for `unseen_ns`."""
    least = min(threshold, UNSEEN_THRESHOLD)
    return least + (threshold - least) * math.exp(-unseen_ns * 1e-9 / UNSEEN_S)


def unstretch(probability: FloatArray, boxes: Sequence[Box], index: int) -> FloatArray:
    """float32 [box.height, box.width]: the map [S, S] of frame `index` at the resolution of that frame's box.

    boxes: the window's, which together gave the scale; padding is cut off, then linear, antialiased (spec 8.1, 8.2).
    """
    rows, columns = common_sizes(boxes, probability.shape[0])[index]
    return linear_antialiased(probability[:rows, :columns], boxes[index].height, boxes[index].width)


def stretch_pixels(rgb: ByteArray, rows: int, columns: int, size: int) -> FloatArray:
    """float32 [size, size, 3] in 0..1: `rgb` [h, w, 3] scaled to `rows` x `columns` at the top left, the rest black."""
    out = np.zeros((size, size, 3), np.float32)
    out[:rows, :columns] = shrink_or_stretch(rgb, rows, columns)
    return out


def stretch_mask(mask: NDArray[np.generic], rows: int, columns: int, size: int) -> NDArray[np.generic]:
    """[size, size], same type: `mask` [h, w] scaled to `rows` x `columns` at the top left, 0 elsewhere."""
    out = np.zeros((size, size), mask.dtype)
    out[:rows, :columns] = nearest(mask, rows, columns)
    return out


def _stretched_inputs(
    seen: Sequence[Observation], sizes: Sequence[tuple[int, int]], size: int, spec: InputSpec
) -> tuple[FloatArray, FloatArray]:
    rgb = np.stack([stretch_pixels(o.rgb, *fill, size) for o, fill in zip(seen, sizes, strict=True)])
    image = (rgb - np.asarray(spec.mean, np.float32)) / np.asarray(spec.std, np.float32)
    masks = [[stretch_mask(plane, *fill, size) for plane in o.masks] for o, fill in zip(seen, sizes, strict=True)]
    return image.transpose(0, 3, 1, 2), np.asarray(masks, np.float32) * np.float32(1 / 255)
