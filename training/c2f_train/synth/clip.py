"""The record of a generated clip and its file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

PNG_LEVEL = 1


@dataclass(frozen=True)
class Clip:
    """T frames of N objects with the truth about what is hidden.

    rgb:    uint8 [T, H, W, 3].
    labels: uint16 [T, H, W], k + 1 where object k is visible, 0 for the background.
    amodal: bool [T, N, H, W], full extent inside the image, whatever hides it.
    hides:  bool [T, N, N], hides[t, i, j]: i is nearer than j at some pixel that both cover.
    categories: N family names. stamps_ns: int64 [T], rising.
    """

    rgb: NDArray[np.uint8]
    labels: NDArray[np.uint16]
    amodal: NDArray[np.bool_]
    hides: NDArray[np.bool_]
    categories: tuple[str, ...]
    stamps_ns: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.rgb.ndim != 4:
            raise ValueError(f"rgb has shape {self.rgb.shape}, expected [T, H, W, 3]")
        frames, height, width = self.rgb.shape[:3]
        count = len(self.categories)
        expected = {
            "rgb": ((frames, height, width, 3), np.uint8),
            "labels": ((frames, height, width), np.uint16),
            "amodal": ((frames, count, height, width), np.bool_),
            "hides": ((frames, count, count), np.bool_),
            "stamps_ns": ((frames,), np.int64),
        }
        for name, (shape, dtype) in expected.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype != dtype:
                found = f"{array.dtype} {list(array.shape)}"
                raise ValueError(f"{name} is {found}, expected {np.dtype(dtype)} {list(shape)}")

    def visible(self) -> NDArray[np.bool_]:
        """Visible masks, bool [T, N, H, W]."""
        values = np.arange(1, len(self.categories) + 1, dtype=np.uint16)
        return self.labels[:, None] == values[None, :, None, None]

    def save(self, path: str | Path) -> None:
        """Write one .npz, without loss; a file of that name appears only when it is complete."""
        path = Path(path)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
        rgb, rgb_sizes = _encode(self.rgb[..., ::-1])
        labels, label_sizes = _encode(self.labels)
        with temporary.open("wb") as file:
            np.savez(
                file,
                rgb=rgb,
                rgb_sizes=rgb_sizes,
                labels=labels,
                label_sizes=label_sizes,
                **_pack_boxes(self.amodal),
                hides=self.hides,
                categories=np.array(self.categories, dtype=np.str_),
                stamps_ns=self.stamps_ns,
            )
        os.replace(temporary, path)

    @classmethod
    def load(cls, path: str | Path) -> Clip:
        """The clip in a file that save wrote."""
        with np.load(path, allow_pickle=False) as file:
            labels = _decode(file["labels"], file["label_sizes"]).astype(np.uint16)
            return cls(
                rgb=np.ascontiguousarray(_decode(file["rgb"], file["rgb_sizes"])[..., ::-1]),
                labels=labels,
                amodal=_unpack_boxes(file["boxes"], file["bits"], labels.shape[1:]),
                hides=file["hides"],
                categories=tuple(str(name) for name in file["categories"]),
                stamps_ns=file["stamps_ns"],
            )


def _encode(images: NDArray) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """PNG bytes of all images one after another, and the size of each."""
    files = []
    for image in images:
        written, data = cv2.imencode(".png", np.ascontiguousarray(image), [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])
        if not written:
            raise ValueError(f"cannot encode an image of {image.dtype} {list(image.shape)} as PNG")
        files.append(data.ravel())
    return np.concatenate(files), np.array([len(data) for data in files], np.int64)


def _decode(data: NDArray[np.uint8], sizes: NDArray[np.int64]) -> NDArray:
    """The images that _encode wrote, stacked."""
    ends = np.cumsum(sizes)
    return np.stack(
        [cv2.imdecode(data[end - size : end], cv2.IMREAD_UNCHANGED) for end, size in zip(ends, sizes, strict=True)]
    )


def _pack_boxes(masks: NDArray[np.bool_]) -> dict[str, NDArray]:
    """Boxes int32 [T, N, 4] (first row, end row, first column, end column) and the bits inside them."""
    boxes = np.zeros((*masks.shape[:2], 4), np.int32)
    inside = []
    for frame, index in np.ndindex(*masks.shape[:2]):
        mask = masks[frame, index]
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(rows):
            top, end, left, right = boxes[frame, index] = (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1)
            inside.append(mask[top:end, left:right].ravel())
    bits = np.packbits(np.concatenate(inside)) if inside else np.zeros(0, np.uint8)
    return {"boxes": boxes, "bits": bits}


def _unpack_boxes(boxes: NDArray[np.int32], bits: NDArray[np.uint8], size: tuple[int, ...]) -> NDArray[np.bool_]:
    """The masks [T, N, H, W] that _pack_boxes packed; size is (H, W)."""
    masks = np.zeros((*boxes.shape[:2], *size), np.bool_)
    flat, start = np.unpackbits(bits).astype(np.bool_), 0
    for frame, index in np.ndindex(*boxes.shape[:2]):
        top, end, left, right = boxes[frame, index]
        area = (end - top) * (right - left)
        masks[frame, index, top:end, left:right] = flat[start : start + area].reshape(end - top, right - left)
        start += area
    return masks


def occlusion_rate(clip: Clip) -> NDArray[np.float32]:
    """Hidden share of each object's extent inside the image, float32 [T, N]; nan where it has none."""
    full = clip.amodal.sum((2, 3)).astype(np.float32)
    visible = np.stack([np.bincount(labels.ravel(), minlength=len(clip.categories) + 1)[1:] for labels in clip.labels])
    with np.errstate(invalid="ignore", divide="ignore"):
        return (1.0 - visible / full).astype(np.float32)
