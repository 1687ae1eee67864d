"""Masks as COCO-style JSON writes them: polygons, or run lengths with or without compression."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from c2f_ros.contract import InputError
from c2f_ros.geometry import BoolArray


def decode_segmentation(value: Any, height: int, width: int, path: Path, where: str) -> BoolArray:
    """bool [height, width] of a `segmentation`: one polygon (flat x, y list), a list of them, or run lengths.

    path, where: the file and the place in it, for the InputError raised if `value` is none of these, is cut for
    another image size, or is broken.
    """
    from pycocotools import mask as coco

    try:
        if isinstance(value, dict):
            if list(value["size"]) != [height, width]:
                raise InputError(f"{path}: {where} is a mask for {value['size']}, the image has {[height, width]}")
            lengths = coco.frPyObjects(value, height, width) if isinstance(value["counts"], list) else value
            return coco.decode(lengths).astype(bool)
        polygons = [value] if value and not isinstance(value[0], list) else value
        if not polygons:
            return np.zeros((height, width), bool)
        return coco.decode(coco.merge(coco.frPyObjects(polygons, height, width))).astype(bool)
    except InputError:
        raise
    except Exception as error:  # pycocotools raises whatever its C code meets
        raise InputError(
            f"{path}: {where} is not a polygon or run-length mask ({error}); correct the annotation"
        ) from error
