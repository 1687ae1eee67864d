"""Small frames, messages and a fake engine for the tests of the steps. The pipeline itself is never faked."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from c2f_ros.bundle import Bundle
from c2f_ros.contract import Manifest, parse
from c2f_ros.records import Batch, Frame, MaskProbabilities, PairedFrame
from c2f_ros.steps.step1_read import instances_of_labels

HEIGHT, WIDTH = 48, 80
SIZE = 64


def plain_manifest() -> dict:
    def tensor(name, dtype, *shape):
        return {"name": name, "dtype": dtype, "shape": list(shape)}

    return {
        "schema_version": 1,
        "model_id": "toy",
        "description": "",
        "temporal": {"mode": "image", "window": 1, "state": [], "state_bytes": 0},
        "crop": {"rule": "square", "size": SIZE, "scale": 2.0, "min_side_fraction": 0.2},
        "input": {
            "channel_order": "rgb",
            "mean": [0.5, 0.5, 0.5],
            "std": [0.25, 0.25, 0.25],
            "mask_channels": ["visible", "others", "inside"],
        },
        "tokens": {"grid": 8, "codebook_size": 256, "steps": 1},
        "mask_threshold": 0.5,
        "graph": {
            "file": "c2f.onnx",
            "sha256": "0",
            "inputs": [tensor("image", "float32", "N", 3, SIZE, SIZE), tensor("masks", "float32", "N", 3, SIZE, SIZE)],
            "outputs": [tensor("amodal", "float32", "N", SIZE, SIZE)],
            "batch_limit": 0,
        },
        "golden": {"file": "golden.npz", "sha256": "0", "tolerance": 0.001},
        "made": {"anything": ["goes", 1]},
    }


def header(stamp_ns: int, frame_id: str = "camera") -> SimpleNamespace:
    stamp = SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return SimpleNamespace(stamp=stamp, frame_id=frame_id)


def image_message(pixels: np.ndarray, encoding: str, step: int | None = None, stamp_ns: int = 0) -> SimpleNamespace:
    """A message with the fields of sensor_msgs/Image; rows are padded with 7s up to `step` bytes."""
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(pixels.shape[0], -1)
    step = step or rows.shape[1]
    data = np.full((rows.shape[0], step), 7, np.uint8)
    data[:, : rows.shape[1]] = rows
    height, width = pixels.shape[:2]
    return SimpleNamespace(
        header=header(stamp_ns), height=height, width=width, encoding=encoding, step=step,
        is_bigendian=0, data=data.ravel(),
    )  # fmt: skip


def manifest(window: int = 1) -> Manifest:
    plain = plain_manifest()
    plain["temporal"]["window"] = window
    return parse(Manifest, plain, "toy")


def bundle(window: int = 1) -> Bundle:
    return Bundle(Path("toy"), manifest(window), {}, {})


def labels_with(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """Label image with value k + 1 in the k-th rectangle (x0, y0, x1, y1); later ones lie on top."""
    out = np.zeros((HEIGHT, WIDTH), np.uint8)
    for index, (x0, y0, x1, y1) in enumerate(boxes):
        out[y0:y1, x0:x1] = index + 1
    return out


def paired(labels: np.ndarray, stamp_ns: int = 0, seed: int = 0) -> PairedFrame:
    pixels = np.random.default_rng(seed).integers(0, 255, (*labels.shape, 3)).astype(np.uint8)
    frame = Frame(stamp_ns, header(stamp_ns), pixels, "rgb8", 0.0)
    return PairedFrame(frame, instances_of_labels(stamp_ns, labels))


class FakeEngine:
    """Says that the whole crop belongs to the object, or what `answer` says."""

    name = "fake"

    def __init__(self, answer=None) -> None:
        self.answer, self.batches, self.is_closed = answer, [], False
        self.kept: list[set[int]] = []
        self.resets = 0

    def run(self, batch: Batch) -> MaskProbabilities:
        self.batches.append(len(batch.image))
        if self.answer is not None:
            return self.answer(batch)
        return MaskProbabilities(np.ones((len(batch.image), *batch.image.shape[-2:]), np.float32))

    def keep(self, serials) -> None:
        self.kept.append(set(serials))

    def reset(self) -> None:
        self.resets += 1

    def state_bytes(self) -> tuple[int, int]:
        return 0, 0

    def close(self) -> None:
        self.is_closed = True
