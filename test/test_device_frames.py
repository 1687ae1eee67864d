"""Window models whose cached frames stay on a (fake) GPU: the answers of the host, whatever becomes of the frames."""

from __future__ import annotations

import gc
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="toy models are made with onnx, which comes with the training package")

from device_engines import Opening
from fake_device import FakeDevice
from frames import labels_with, paired
from toy_bundles import cached_bundle

from c2f_ros.bundle import Bundle
from c2f_ros.contract import ContractError, EngineError
from c2f_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from c2f_ros.engines.tensorrt_engine import TensorRTEngine
from c2f_ros.records import Batch, TrackedFrame
from c2f_ros.steps.step4_observe import WindowStore
from c2f_ros.steps.step5_batch import make_batch
from c2f_ros.steps.step6_engine import run_engine

SHARES = [0.1, 0.2, 0.3, 0.4]
BOXES = [(20, 10, 40, 30), (50, 15, 66, 27), (2, 2, 12, 14)]


class Scene:
    """Frames of objects that move, for an engine on the device and one on the host."""

    def __init__(self, folder: Path, opened: Opening, rule: str = "square", limit: int = 0, **given: int) -> None:
        """limit: frames in one call of the first graph."""
        bundle = cached_bundle(folder / "m", rule, SHARES)
        spec = bundle.manifest.frame_graph
        manifest = replace(bundle.manifest, frame_graph=replace(spec, batch_limit=limit))
        self.bundle: Bundle = replace(bundle, manifest=manifest)
        self.host = OnnxRuntimeEngine(self.bundle, 1, 8)
        self.engine: TensorRTEngine
        self.device: FakeDevice
        self.engine, self.device = opened(self.bundle, **given)
        self.store = WindowStore(self.bundle.manifest, 8, 10.0)
        self._stamp = 0

    def batch(self, count: int = 2) -> Batch:
        k, self._stamp = self._stamp, self._stamp + 1
        boxes = [(x0 + k % 9, y0, x1 + k % 9, y1) for x0, y0, x1, y1 in BOXES[:count]]
        pair = paired(labels_with(*boxes), k, seed=k)
        observed = self.store.observe(TrackedFrame(pair, tuple(i.upstream_id for i in pair.instances.instances)))
        return make_batch(observed, self.bundle.manifest)

    def check(self, batch: Batch) -> Counter[str]:
        """Both engines agree; what was asked of the device."""
        expected = self.host.run(batch).amodal
        self.device.counted()
        assert np.array_equal(self.engine.run(batch).amodal, expected)
        return self.device.counted()


def test_only_new_frames_go_up_masks_come_down_and_one_wait_is_enough(tmp_path, opened):
    scene = Scene(tmp_path, opened)
    for k in range(6):
        counted = scene.check(scene.batch())
        assert counted["synchronize"] == 1 and not {"allocate", "free", "pinned"} & set(counted)
        if k < 1:
            assert (counted["copy_to_device"], counted["copy_to_host"], counted["execute_async_v3"]) == (2, 1, 2)
    assert counted["launch"] == 2 and not {"copy_to_device", "copy_to_host", "execute_async_v3"} & set(counted)


@pytest.mark.parametrize("rule", ["square", "stretched"])
def test_more_new_frames_than_a_call_takes_are_made_in_several(tmp_path, opened, rule):
    scene = Scene(tmp_path, opened, rule, rows=3)
    scene.check(scene.batch(3))
    for count in (3, 2, 3):
        scene.batch(count)  # observed, not inferred
    counted = scene.check(scene.batch(3))
    assert counted["execute_async_v3"] + counted["launch"] >= 4
    scene.check(scene.batch(3))


def test_what_is_wanted_of_the_newest_frames_alone_reaches_every_row_of_the_second_graph(tmp_path, opened):
    """The toy's `light`: the mean of a frame's pixels."""
    scene = Scene(tmp_path, opened, limit=2)
    for _ in range(3):
        batch = scene.batch(3)
        scene.check(batch)
        address = scene.engine._graphs[-1].address("light")
        found = scene.device.bytes_at(address, 3 * 4).view(np.float32)
        assert np.allclose(found, batch.image.mean((1, 2, 3)), atol=1e-6)


def test_frames_go_with_the_windows_that_hold_them(tmp_path, opened):
    scene = Scene(tmp_path, opened)
    storage = scene.engine._mode._storage
    capacity = storage.free
    for _ in range(9):
        scene.check(scene.batch())
    gc.collect()
    assert capacity - storage.free == 2 * len(SHARES)
    scene.store.reset()
    gc.collect()
    assert storage.free == capacity
    scene.check(scene.batch())
    scene.engine.reset()
    assert storage.free == capacity


def test_a_small_pool_forgets_what_a_batch_does_not_need_and_makes_it_again(tmp_path, opened):
    scene = Scene(tmp_path, opened, rows=1, slots=1)  # room for one window; three objects are inferred one by one
    assert scene.engine.device_bytes["frames"] == len(SHARES) * 4 * 64 * 64
    for _ in range(6):
        scene.check(scene.batch(3))


def test_frames_of_a_mask_that_is_not_finite_are_forgotten_and_made_again(tmp_path, opened):
    scene = Scene(tmp_path, opened)
    scene.check(scene.batch())
    good = scene.batch()
    bad = Batch(good.image, good.masks.copy(), windows=good.windows, frames=good.frames)
    bad.masks[1, 0, 3, 3] = np.nan
    with pytest.raises(EngineError, match="masks that are not finite for 1 objects"):
        run_engine(scene.engine, bad)
    scene.host.run(good)
    scene.check(scene.batch())


def test_the_pool_takes_what_is_left_of_the_memory_allowed_but_one_call_s_windows_at_least(tmp_path, opened):
    frame = 4 * 64 * 64
    scene = Scene(tmp_path, opened, slots=64, memory_mb=2)
    taken = scene.engine.device_bytes
    assert 2 * (1 << 20) - frame < sum(taken.values()) <= 2 * (1 << 20) and taken["frames"] % frame == 0
    with pytest.raises(ContractError, match=r"frames \d\.\d.*1 MB are allowed"):
        opened(scene.bundle, slots=64, memory_mb=1, rows=16)
