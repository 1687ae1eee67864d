"""A clip through the engine of a window model, its frames cached, beside torch on the same clip."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from frames import header
from needs_torch import torch

from c2f_ros.bundle import Bundle
from c2f_ros.crops import window_inputs
from c2f_ros.engines.frame_cache import CachedWindow
from c2f_ros.records import Frame, PairedFrame, TrackedFrame
from c2f_ros.steps.step1_read import instances_of_labels
from c2f_ros.steps.step4_observe import WindowStore
from c2f_ros.steps.step5_batch import make_batch
from c2f_ros.steps.step6_engine import open_engine, run_engine
from c2f_train.model.network import C2FNetwork


def tracked(pixels: np.ndarray, labels: np.ndarray, stamp_ns: int) -> TrackedFrame:
    pair = PairedFrame(Frame(stamp_ns, header(stamp_ns), pixels, "rgb8", 0.0), instances_of_labels(stamp_ns, labels))
    return TrackedFrame(pair, tuple(instance.upstream_id for instance in pair.instances.instances))


def largest_difference(
    network: C2FNetwork, bundle: Bundle, frames: list[TrackedFrame], left_out: Collection[int]
) -> float:
    """Between the engine's cached answers and torch's on the same clips; `left_out` frames are observed alone."""
    manifest, difference = bundle.manifest, 0.0
    engine, store = open_engine("onnxruntime", bundle, 1), WindowStore(manifest, 8, 1e9)
    assert isinstance(engine._mode, CachedWindow)
    for k, frame in enumerate(frames):
        observed = store.observe(frame)
        if k in left_out:
            continue
        found = run_engine(engine, make_batch(observed, manifest)).amodal
        image, masks = window_inputs(observed.windows, manifest.crop, manifest.input, manifest.temporal)
        with torch.no_grad():
            expected = network(torch.from_numpy(image), torch.from_numpy(masks))[0].numpy()
        difference = max(difference, float(np.abs(found - expected).max()))
    return difference
