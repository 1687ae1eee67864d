"""InstanceMask.msg's two encodings: a placed mask <-> a rectangle and bytes, exact both ways."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from c2f_ros.contract import InputError
from c2f_ros.geometry import EMPTY_MASK, Box, PlacedMask

ENCODINGS = ("MONO8", "PACKED")


def encode(mask: PlacedMask, encoding: str) -> tuple[Box, NDArray[np.uint8]]:
    """The mask's rectangle and its bytes: MONO8 one byte a pixel (0 or 255), PACKED one bit a pixel.

    An empty mask gives an empty box and no bytes. Raises InputError for another encoding.
    """
    if mask.box.is_empty:
        return mask.box, np.zeros(0, np.uint8)
    if encoding == "MONO8":
        return mask.box, mask.mask.view(np.uint8).ravel() * np.uint8(255)
    if encoding == "PACKED":
        return mask.box, np.packbits(mask.mask)
    raise InputError(f"mask encoding is {encoding!r}, expected {' or '.join(ENCODINGS)}; use one of these")


def decode(box: Box, encoding: str, data: NDArray[np.uint8], height: int, width: int) -> PlacedMask:
    """The mask that `encode` wrote, for an image of `height` x `width` pixels.

    Raises InputError if the rectangle leaves the image, the length does not fit it, a MONO8 value is neither
    0 nor 255, or the encoding is unknown.
    """
    if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height:
        raise InputError(
            f"mask rectangle is columns {box.x0}..{box.x1} and rows {box.y0}..{box.y1}, the image has {width} columns "
            f"and {height} rows; cut masks to the image"
        )
    if encoding not in ENCODINGS:
        raise InputError(f"mask encoding is {encoding!r}, expected {' or '.join(ENCODINGS)}; use one of these")
    pixels = box.width * box.height
    expected = pixels if encoding == "MONO8" else (pixels + 7) // 8
    if len(data) != expected:
        raise InputError(
            f"{encoding} mask of {box.height}x{box.width} pixels has {len(data)} bytes, expected {expected}; "
            "check the sender"
        )
    if pixels == 0:
        return EMPTY_MASK
    if encoding == "PACKED":
        bits = np.unpackbits(data, count=pixels).view(np.bool_)
        return PlacedMask(box, bits.reshape(box.height, box.width))
    mask = data == 255
    if not np.array_equal(mask, data != 0):
        raise InputError("MONO8 mask holds values other than 0 and 255; send 255 where the object is")
    return PlacedMask(box, mask.reshape(box.height, box.width))
