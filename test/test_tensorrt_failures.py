"""What goes wrong on a (fake) GPU fails one frame by name, and hurts no object but those concerned."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="toy models are made with onnx, which comes with the training package")

from frames import SIZE
from test_stream_engine import LEFT, LOW, RIGHT, batch_of, drawn
from toy_bundles import stream_bundle

from c2f_ros.contract import EngineError
from c2f_ros.steps.step6_engine import run_engine


@pytest.mark.parametrize("call", ["execute_async_v3", "copy_to_device", "copy_to_host", "synchronize"])
def test_a_call_that_fails_fails_the_frame_by_name_and_the_next_one_is_right(tmp_path, opened, call):
    engine, device = opened(stream_bundle(tmp_path / "m"))
    run_engine(engine, batch_of({1: LEFT}))
    device.failing = [call]
    with pytest.raises(EngineError, match=f"{call} failed with cudaErrorUnknown"):
        run_engine(engine, batch_of({1: RIGHT, 2: LOW}))
    found = run_engine(engine, batch_of({2: None, 1: None}))
    assert np.allclose(found.amodal, [np.zeros((SIZE, SIZE)), drawn(LEFT)], atol=1e-6)
    assert found.frames.tolist() == [1, 2]


def test_an_object_whose_mask_is_not_finite_begins_anew_and_no_other(tmp_path, opened):
    """The toy's states are poisoned while its mask is whole: the mask shows it one frame later."""
    engine, _ = opened(stream_bundle(tmp_path / "m", ("aligned",)), slots=2)
    run_engine(engine, batch_of({1: LEFT, 2: RIGHT}))
    bad = batch_of({1: LEFT, 2: RIGHT})
    bad.image[1, 0, 5, 5] = np.nan
    run_engine(engine, bad)
    with pytest.raises(EngineError, match="masks that are not finite for 1 objects"):
        run_engine(engine, batch_of({1: LEFT, 2: RIGHT}))
    for other, frames in ((2, 3), (3, 4)):  # the third object takes the slot of the second
        found = run_engine(engine, batch_of({1: None, other: None}))
        assert np.allclose(found.amodal, [drawn(LEFT), np.zeros((SIZE, SIZE))], atol=1e-6)
        assert found.frames.tolist() == [frames, 1]


def test_a_mask_outside_its_range_leaves_the_memory_as_it_was(tmp_path, opened):
    engine, _ = opened(stream_bundle(tmp_path / "m"))
    run_engine(engine, batch_of({1: LEFT}))
    bad = batch_of({1: RIGHT, 2: LOW})
    bad.masks[1] *= 1.5
    with pytest.raises(EngineError, match=r"0\.0\.\.1\.5"):
        run_engine(engine, bad)
    assert np.allclose(run_engine(engine, batch_of({1: None})).amodal[0], drawn(LEFT), atol=1e-6)
