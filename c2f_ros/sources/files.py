"""The files that sequences are made of. Whatever is wrong with one is an InputError that names it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from c2f_ros.contract import InputError
from c2f_ros.geometry import ByteArray

FIRST_STAMP_NS = 1_000_000_000
"""Stamp of the first frame where the source has none; many tools take 0 for "not stamped"."""

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
JPEG_START, JPEG_SCAN, JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"

T = TypeVar("T")


def stamp_at(index: int, rate_hz: float) -> int:
    """Stamp in nanoseconds of frame `index`, 0 being the first, at `rate_hz` frames per second."""
    return FIRST_STAMP_NS + round(index * 1e9 / rate_hz)


def require_file(path: Path) -> Path:
    """`path` itself. Raises InputError if it is not a file."""
    if not path.is_file():
        raise InputError(f"{path}: the file does not exist; check the source's layout")
    return path


def read_rgb(path: Path) -> ByteArray:
    """uint8 [H, W, 3] of a JPEG or PNG; an alpha channel is dropped. Raises InputError if it is cut short."""
    data = require_file(path).read_bytes()
    # Some versions of OpenCV fill the rest of a cut JPEG with grey. No end marker occurs inside its scans.
    if data.startswith(JPEG_START) and data.rfind(JPEG_END) < data.rfind(JPEG_SCAN):
        raise InputError(f"{path}: this JPEG ends after {len(data)} bytes, before its end marker; replace the file")
    pixels = cv2.imdecode(np.frombuffer(data or b"\0", np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise InputError(f"{path}: this is not an image that OpenCV can read; replace the file")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def read_labels(path: Path) -> NDArray[np.int32]:
    """int32 [H, W] of a PNG with one value per pixel, 8 or 16 bit; of a palette PNG the indices, not the colours."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(require_file(path)) as image:
            values = np.asarray(image)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as error:
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


def read_json(path: Path, hook: Callable[[dict[str, Any]], Any] | None = None) -> dict[str, Any]:
    """The JSON object in a file. hook: what to make of every object in it, as `json.loads` takes."""
    value = read_json_value(path, hook)
    if not isinstance(value, dict):
        raise InputError(f"{path}: it holds a {type(value).__name__}, expected a JSON object; replace the file")
    return value


def read_json_value(path: Path, hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """The JSON value in a file, of whatever type."""
    try:
        return json.loads(require_file(path).read_text("utf-8"), object_hook=hook)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path}: this is not JSON ({error}); replace the file") from error


def require_key(item: dict[str, Any], key: str, path: Path, where: str) -> Any:
    """item[key]. Raises InputError naming the file and the place in it if there is none."""
    if not isinstance(item, dict) or key not in item:
        raise InputError(f"{path}: {where} has no {key!r}; check the layout")
    return item[key]


def require(item: dict[str, Any], key: str, kind: type[T], path: Path, where: str) -> T:
    """item[key], which is a `kind`. Raises InputError naming the file and the place in it if it is not."""
    value = require_key(item, key, path, where)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InputError(f"{path}: {key!r} of {where} is {value!r:.60}, expected {kind.__name__}; correct the file")
    return value


def require_number(item: dict[str, Any], key: str, path: Path, where: str) -> float:
    """item[key], which is a finite number. Raises InputError as `require` does."""
    value = require_key(item, key, path, where)
    if type(value) not in (int, float) or not math.isfinite(value):
        raise InputError(f"{path}: {key!r} of {where} is {value!r:.60}, expected a number; correct the file")
    return float(value)


def find_image(path: Path, name: str, folders: Sequence[Path]) -> Path:
    """The file `name` in one of the folders. Raises InputError, naming the annotation file `path`, if it is in none of
    them, or in two: data sets give the images of different splits equal names."""
    found = list(dict.fromkeys(folder / name for folder in folders if (folder / name).is_file()))
    if len(found) > 1:
        raise InputError(f"{path}: its image {name} is both {found[0]} and {found[1]}; put it beside its own images")
    if not found:
        shown = ", ".join(dict.fromkeys(str(folder) for folder in folders))
        raise InputError(f"{path}: its image {name} is in none of the folders {shown}; add it")
    return found[0]
