"""Draws amodal masks into the image: what is seen is tinted, what is hidden is hatched, one colour per track.

Objects of which nothing is seen are hatched faintly inside a dashed outline: nothing in the image bears them out.
"""

from __future__ import annotations

import colorsys
import dataclasses
import zlib
from functools import lru_cache

import cv2
import numpy as np

from c2f_ros.geometry import BoolArray, Box, ByteArray, PlacedMask, minus
from c2f_ros.records import AmodalFrame, AmodalInstance

VISIBLE_TINT = 0.15
STRIPE_TINT, GAP_TINT = 0.72, 0.34
UNSEEN_STRIPE_TINT, UNSEEN_GAP_TINT = 0.42, 0.1
DASH = 9
"""Length of the dashes around an unseen object, in outline widths."""
OUTLINE_TINT = 0.9
TINY = 16
LINES_PER_IMAGE = 400
"""An outline is one pixel wide for every so many pixels of the image's shorter side."""


def draw_overlay(rgb: ByteArray, frame: AmodalFrame) -> ByteArray:
    """A copy of the image with every object drawn; pixels outside all amodal masks are untouched.

    rgb: uint8 [H, W, 3], of the frame's size. Visible part: light tint and thin outline; hidden part: hatched and
    outlined, with dashes if nothing is visible; the track id where the object is widest.
    """
    out = rgb.copy()
    line = max(1, round(min(rgb.shape[:2]) / LINES_PER_IMAGE))
    by_size = sorted(frame.instances, key=lambda item: -item.amodal.area)
    hidden = [minus(item.amodal, item.visible) for item in by_size]
    for item in by_size:
        _blend(out, item.visible.box, item.visible.mask, track_colour(item.track_id), VISIBLE_TINT)
        _blend(out, item.visible.box, outline(item.visible.mask, line), track_colour(item.track_id), OUTLINE_TINT)
    for item, part in zip(by_size, hidden, strict=True):
        stripes = hatching(part.box, 5 * line, zlib.crc32(item.track_id.encode()) % 2 == 0)
        tints = (UNSEEN_STRIPE_TINT, UNSEEN_GAP_TINT) if item.visible.is_empty else (STRIPE_TINT, GAP_TINT)
        _blend(out, part.box, part.mask & stripes, track_colour(item.track_id), tints[0])
        _blend(out, part.box, part.mask & ~stripes, track_colour(item.track_id), tints[1])
    for item, part in zip(by_size, hidden, strict=True):
        _draw_hidden_outline(out, item, part, line)
    for item in by_size:
        _write_id(out, item, line)
    return out


@lru_cache(maxsize=4096)
def track_colour(track_id: str) -> tuple[int, int, int]:
    """An RGB colour that stays with the track; consecutive numbers get colours far apart."""
    number = int(track_id) if track_id.isdecimal() else zlib.crc32(track_id.encode())
    hue = (0.882 + number * 0.618034) % 1.0
    red, green, blue = colorsys.hls_to_rgb(hue, 0.58 if number % 2 else 0.68, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def hatching(box: Box, width: int, is_rising: bool) -> BoolArray:
    """bool [box.height, box.width]: diagonal stripes of `width` pixels, fixed to the image, not to the box."""
    rows = np.arange(box.y0, box.y1)[:, None]
    columns = np.arange(box.x0, box.x1)[None, :]
    return ((columns + rows if is_rising else columns - rows) // width) % 2 == 0


def outline(mask: BoolArray, width: int) -> BoolArray:
    """The pixels of `mask` [h, w] within `width` pixels of its edge."""
    if mask.size == 0:
        return mask
    padded = cv2.copyMakeBorder(mask.view(np.uint8), width, width, width, width, cv2.BORDER_CONSTANT, value=0)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
    inner = cv2.erode(padded, kernel)[width:-width, width:-width]
    return mask & (inner == 0)


def dashes(mask: BoolArray, length: int) -> BoolArray:
    """The outermost pixels of `mask` [h, w], every other `length` pixels along its outlines."""
    out = np.zeros(mask.shape, np.uint8)
    outlines, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    for points in outlines:
        columns, rows = points[(np.arange(len(points)) // length) % 2 == 0, 0].T
        out[rows, columns] = 1
    return out.view(np.bool_)


def _draw_hidden_outline(out: ByteArray, item: AmodalInstance, hidden: PlacedMask, line: int) -> None:
    """The amodal mask's outline where it runs through the hidden part: twice as wide, white core unless it is tiny."""
    if item.amodal.box.is_empty:
        return
    edge, core = outline(item.amodal.mask, 2 * line), outline(item.amodal.mask, line)
    part = np.zeros_like(edge)
    if not hidden.box.is_empty:
        part[hidden.box.within(item.amodal.box)] = hidden.mask
    if item.visible.is_empty:
        kernel = np.ones((4 * line + 1, 4 * line + 1), np.uint8)
        part &= cv2.dilate(dashes(item.amodal.mask, DASH * line).view(np.uint8), kernel).view(np.bool_)
    _blend(out, item.amodal.box, edge & part, track_colour(item.track_id), 1.0)
    if hidden.area > (TINY * line) ** 2:
        _blend(out, item.amodal.box, core & part, (255, 255, 255), 0.85)


def _blend(out: ByteArray, box: Box, mask: BoolArray, colour: tuple[int, int, int], share: float) -> None:
    """Mix `colour` into the masked pixels of `box`, in place. share: 0 keeps the image, 1 replaces it."""
    if box.is_empty:
        return
    part = out[box.slices]
    plain = np.full_like(part, colour)
    cv2.copyTo(cv2.addWeighted(part, 1 - share, plain, share, 0), mask.view(np.uint8), part)


def _write_id(out: ByteArray, item: AmodalInstance, line: int) -> None:
    """The track id where the visible part is widest (the whole mask if nothing is visible), if there is room."""
    mask = item.amodal if item.visible.is_empty else item.visible
    if mask.is_empty:
        return
    padded = cv2.copyMakeBorder(mask.mask.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    row, column = np.unravel_index(int(distance.argmax()), distance.shape)
    scale = 0.42 * line
    (width, height), _ = cv2.getTextSize(item.track_id, cv2.FONT_HERSHEY_SIMPLEX, scale, line)
    if 1.3 * float(distance[row, column]) < 0.5 * max(width, height):
        return
    part = np.ascontiguousarray(out[mask.box.slices])
    place = (int(column) - width // 2, int(row) + height // 2)
    cv2.putText(part, item.track_id, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 3 * line, cv2.LINE_AA)
    cv2.putText(part, item.track_id, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), line, cv2.LINE_AA)
    cv2.copyTo(part, mask.mask.view(np.uint8), out[mask.box.slices])


def enlarge(rgb: ByteArray, frame: AmodalFrame, factor: int) -> tuple[ByteArray, AmodalFrame]:
    """Image and masks `factor` times larger, masks with smooth edges: for films and sheets of small images."""
    if factor == 1:
        return rgb, frame
    size = (rgb.shape[1] * factor, rgb.shape[0] * factor)
    instances = tuple(
        dataclasses.replace(item, visible=_enlarge(item.visible, factor), amodal=_enlarge(item.amodal, factor))
        for item in frame.instances
    )
    larger = dataclasses.replace(frame, height=frame.height * factor, width=frame.width * factor, instances=instances)
    return cv2.resize(rgb, size, interpolation=cv2.INTER_CUBIC), larger


def _enlarge(mask: PlacedMask, factor: int) -> PlacedMask:
    if mask.box.is_empty:
        return mask
    box = Box(mask.box.x0 * factor, mask.box.y0 * factor, mask.box.x1 * factor, mask.box.y1 * factor)
    soft = cv2.resize(mask.mask.astype(np.float32), (box.width, box.height), interpolation=cv2.INTER_CUBIC)
    return PlacedMask(box, soft > 0.5)
