"""Inputs of a whole network that no student has seen: objects of generated clips, cut as on the robot."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from c2f_ros.contract import CropSpec, InputError, InputSpec
from c2f_ros.crops import observe_object, window_inputs
from c2f_ros.geometry import place
from c2f_ros.records import Observation
from c2f_train.model.config import NetworkConfig
from c2f_train.synth.clip import Clip
from c2f_train.synth.generate import clip_seed, generate_clip
from c2f_train.synth.scene_config import SceneConfig

LEAST_PIXELS = 40
PER_CLIP = 6
"""Objects taken of one clip, so that scenes differ."""
SEED = 9_000_000
"""Of the clips."""


def held_out_inputs(
    config: NetworkConfig, crop: CropSpec, spec: InputSpec, count: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """image [1, 3, S, S] and masks [1, M, S, S] of `count` objects (with T frames in second place for clips)."""
    scene, made, index = SceneConfig(), 0, 0
    while made < count:
        clip = generate_clip(scene, config.frames, clip_seed(SEED, index))
        index += 1
        for window in _windows(clip, crop, spec, np.random.default_rng([SEED, index])):
            image, masks = window_inputs([window], crop, spec, config.temporal_spec())
            yield torch.from_numpy(image), torch.from_numpy(masks)
            made += 1
            if made == count:
                return


def _windows(clip: Clip, crop: CropSpec, spec: InputSpec, rng: np.random.Generator) -> Iterator[list[Observation]]:
    """Some objects of a clip that are seen in its last frame, in all frames in which they are seen."""
    visible = clip.visible()
    objects = np.flatnonzero(visible[-1].sum((1, 2)) >= LEAST_PIXELS)
    for chosen in rng.permutation(objects)[:PER_CLIP]:
        window = []
        for frame, mask in enumerate(visible[:, chosen]):
            labels = clip.labels[frame].astype(np.int32)
            try:
                stamp_ns = int(clip.stamps_ns[frame])
                window.append(
                    observe_object(clip.rgb[frame], "rgb8", labels, place(mask), crop, spec.mask_channels, stamp_ns)
                )
            except InputError:  # hidden in this frame: nothing to cut around
                continue
        yield window
