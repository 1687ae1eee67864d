"""The files that sequences are made of. Whatever is wrong with one is an InputError that names it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from c2f_ros.contract import InputError
from c2f_ros.geometry import ByteArray

FIRST_STAMP_NS = 1_000_000_000
"""Stamp of the first frame where the source has none; many tools take 0 for "not stamped"."""

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")


def stamp_at(index: int, rate_hz: float) -> int:
    """Stamp in nanoseconds of frame `index`, 0 being the first, at `rate_hz` frames per second."""
    return FIRST_STAMP_NS + round(index * 1e9 / rate_hz)


def require_file(path: Path) -> Path:
    """`path` itself. Raises InputError if it is not a file."""
    if not path.is_file():
        raise InputError(f"{path}: the file does not exist; check the source's layout")
    return path


def read_rgb(path: Path) -> ByteArray:
    """uint8 [H, W, 3] of a JPEG or PNG; an alpha channel is dropped."""
    pixels = cv2.imdecode(np.frombuffer(require_file(path).read_bytes() or b"\0", np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise InputError(f"{path}: this is not an image that OpenCV can read; replace the file")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def read_labels(path: Path) -> NDArray[np.int32]:
    """int32 [H, W] of a PNG with one value per pixel, 8 or 16 bit; of a palette PNG the indices, not the colours."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(require_file(path)) as image:
            values = np.asarray(image)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise InputError(f"{path}: this is not an image that can be read ({error}); replace the file") from error
    if values.ndim != 2:
        raise InputError(f"{path}: it has {values.shape[2]} channels, a label image has one; save the ids, not colours")
    return values.astype(np.int32)


def require_size(path: Path, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raises InputError if an image's (rows, columns) are not those expected."""
    if found[:2] != expected[:2]:
        raise InputError(
            f"{path}: it has {found[0]} rows and {found[1]} columns, expected {expected[0]} and {expected[1]}; "
            "all images of one frame have the same size"
        )


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file."""
    try:
        value = json.loads(require_file(path).read_text("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: this is not JSON ({error}); replace the file") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: it holds a {type(value).__name__}, expected a JSON object; replace the file")
    return value


def require_key(item: dict[str, Any], key: str, path: Path, where: str) -> Any:
    """item[key]. Raises InputError naming the file and the place in it if there is none."""
    if not isinstance(item, dict) or key not in item:
        raise InputError(f"{path}: {where} has no {key!r}; check the layout")
    return item[key]
