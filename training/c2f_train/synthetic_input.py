"""Made-up network inputs for a golden sample where no crops of real objects are at hand."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from c2f_train.model.config import NetworkConfig


def synthetic_batch(config: NetworkConfig, rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """image [rows, 3, S, S] of smooth noise in 0..1, masks [rows, M, S, S] of one blob each, 0 or 1; a video model's
    with the frames in the second place, the blob moving. The same for the same arguments."""
    rng = np.random.default_rng(seed)
    frames, size, planes = config.frames, config.crop_size, len(config.mask_channels)
    image = np.stack([_image(rng, frames, size) for _ in range(rows)])
    masks = np.stack([np.stack([_blob(rng, frames, size) for _ in range(planes)], 1) for _ in range(rows)])
    if frames == 1:
        image, masks = image[:, 0], masks[:, 0]
    return torch.from_numpy(image), torch.from_numpy(masks)


def _smooth(rng: np.random.Generator, frames: int, size: int, sigma: float) -> np.ndarray:
    """[frames, size, size] noise of mean 0 and deviation 1 that changes slowly, from frame to frame too."""
    noise = ndimage.gaussian_filter(rng.standard_normal((frames, size, size)), (2.0, sigma, sigma), mode="wrap")
    return (noise - noise.mean()) / noise.std()


def _image(rng: np.random.Generator, frames: int, size: int) -> np.ndarray:
    planes = [_smooth(rng, frames, size, size / 32) * 0.2 + 0.5 for _ in range(3)]
    return np.stack(planes, 1).clip(0, 1).astype(np.float32)


def _blob(rng: np.random.Generator, frames: int, size: int) -> np.ndarray:
    """[frames, size, size]: an ellipse with a wavy border that drifts by a hundredth of the side per frame."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    height, width = rng.uniform(0.2, 0.35, 2)
    step = rng.uniform(-0.01, 0.01, 2)[:, None, None, None] * np.arange(frames)[:, None, None]
    distance = ((y - step[0]) / height) ** 2 + ((x - step[1]) / width) ** 2
    return (distance + 0.2 * _smooth(rng, frames, size, size / 16) < 1).astype(np.float32)
