"""The fake TensorRT of these tests offers what the real one has."""

from __future__ import annotations

import fake_tensorrt
import numpy as np
import pytest
from device_engines import BACKENDS

from c2f_ros.engines.tensorrt_library import is_installed, open_library


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_fake_offers_nothing_that_the_real_library_lacks(backend):
    """All that the engine calls exists on the fake, so this is the recorded interface of what it calls."""
    if not is_installed(backend):
        pytest.skip(f"{backend} is not installed")
    real = open_library(backend)
    pairs = [
        (fake_tensorrt.FakePlan, real.ICudaEngine, {"device", "log", "rows", "least", "session"}),
        (fake_tensorrt.FakeContext, real.IExecutionContext, set()),
        (fake_tensorrt.FakeRuntime, real.Runtime, set()),
        (fake_tensorrt.FakeTensorRT, real, {"device", "is_rtx"}),
        (fake_tensorrt.Strategy, real.ExecutionContextAllocationStrategy, set()),
        (fake_tensorrt.Mode, real.TensorIOMode, set()),
        (fake_tensorrt.Stat, real.EngineStat, set()),
    ]
    if backend == "tensorrt_rtx":
        pairs += [
            (fake_tensorrt.FakeConfig, real.IRuntimeConfig, set()),
            (fake_tensorrt.FakeCache, real.IRuntimeCache, set()),
            (fake_tensorrt.CudaGraphs, real.CudaGraphStrategy, set()),
        ]
    for fake, theirs, own in pairs:
        names = {name for name in dir(fake) if not name.startswith("_")} - own
        assert names and not {name for name in names if not hasattr(theirs, name)}, theirs
    assert {"INTERNAL_ERROR", "ERROR", "WARNING"} <= set(dir(real.ILogger.Severity))
    assert (real.nptype(real.DataType.FLOAT), real.nptype(real.DataType.INT64)) == (np.float32, np.int64)
