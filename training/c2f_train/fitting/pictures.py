"""Contact sheets of training samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

LEAST_SIDE = 96
GAP = 4


def contact_sheet(columns: Sequence[Tensor], file: Path) -> None:
    """Write a PNG: one line per sample, one column per entry of `columns`, [N, 3, S, S] (an image, stretched to its own
    range) or [N, 1, S, S] (coverage 0..1). In training: image crop, visible, coarse, refined, truth."""
    sheet = np.concatenate([_column(c.detach().float().cpu().numpy()) for c in columns], 1)
    cv2.imwrite(str(file), sheet)


def _column(values: np.ndarray) -> np.ndarray:
    """uint8 [N * (side + GAP), side + GAP, 3], blue first."""
    if values.shape[1] == 3:
        low, high = values.min((1, 2, 3), keepdims=True), values.max((1, 2, 3), keepdims=True)
        values = ((values - low) / np.maximum(high - low, 1e-6))[:, ::-1]
    times = -(-LEAST_SIDE // values.shape[-1])
    pixels = np.rint(values.clip(0, 1) * 255).astype(np.uint8).repeat(times, 2).repeat(times, 3)
    framed = np.pad(pixels, ((0, 0), (0, 0), (0, GAP), (0, GAP)), constant_values=96)
    return (
        np.broadcast_to(framed, (len(framed), 3, *framed.shape[2:]))
        .transpose(0, 2, 3, 1)
        .reshape(-1, framed.shape[3], 3)
    )
