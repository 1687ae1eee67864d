"""A clip store of hand-made moving rectangles, and a tiny configuration with a memory."""

from dataclasses import replace

import cv2
import numpy as np
from tiny import tiny_config

from c2f_ros.geometry import place
from c2f_ros.records import SourceFrame, SourceObject
from c2f_train.data.clip_store import ClipArrays, ClipStore, _joined, _shifted, piece_of
from c2f_train.data_config import UnrollConfig
from c2f_train.model.config import MemoryConfig

HEIGHT, WIDTH = 48, 64
FRAME_NS = 100_000_000
UNROLL = UnrollConfig(
    frames=4, graded=2, stride=1, gap_share=0.0, ragged_tracks=0.0, fault_share=0.0, lost_share=0.0, lost_by=0.0,
    unsegmented_fraction=0.0,
    scale_jitter=0.0, shift_jitter=0.0,
)  # fmt: skip


def moving_frames(frames: int = 8, first_id: int = 3, seed: int = 0) -> list[SourceFrame]:
    """Object `first_id` stands still, another one passes in front of it and hides it wholly for a while."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 255, (HEIGHT // 4, WIDTH // 4, 3)).astype(np.uint8)
    texture = cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    out = []
    for t in range(frames):
        still, mover = np.zeros((2, HEIGHT, WIDTH), bool)
        still[16:30, 24:36] = True
        mover[10:36, 2 + 6 * t : 24 + 6 * t] = True
        labels = np.where(mover, first_id + 4, np.where(still, first_id, 0)).astype(np.int32)
        objects = {first_id: SourceObject("a", place(still)), first_id + 4: SourceObject("b", place(mover))}
        out.append(
            SourceFrame(t * FRAME_NS, np.where(mover[..., None], 200, texture).astype(np.uint8), labels, objects)
        )
    return out


def moving_store(clips: int = 2) -> ClipStore:
    """The store of such clips, in memory."""
    pieces, parts, bits = [], [], []
    for clip in range(clips):
        piece = piece_of(moving_frames(seed=clip))
        pieces.append(_shifted(piece.arrays, sum(map(len, parts)), 8 * sum(map(len, bits))))
        parts.append(piece.frames)
        bits.append(piece.masks)
    frames, masks = (np.frombuffer(b"".join(part), np.uint8) for part in (parts, bits))
    return ClipStore(ClipArrays(**_joined(pieces)), frames, masks)


def memory_config(memory: MemoryConfig = MemoryConfig(result=True, features=4), samples: int = 32):  # noqa: B008
    """The tiny configuration with a memory stage of `samples` tracks in batches of 8."""
    config = tiny_config()
    return replace(
        config, crop=replace(config.crop, rule="followed"), network=replace(config.network, memory=memory),
        loss=replace(config.loss, flicker=0.3), unroll=UNROLL,
        memory_stage=replace(config.refiner_stage, samples=samples),
    )  # fmt: skip
