import numpy as np
import pytest

from c2f_ros.contract import CropSpec, TemporalSpec
from c2f_ros.crops import UNSEEN_S, UNSEEN_THRESHOLD, lowered, paste_window
from c2f_ros.geometry import Box
from c2f_ros.records import Observation

CROP, IMAGE = CropSpec("followed", 32, 2.0, 0.0), TemporalSpec("image", 1)


def area(unseen_ns):
    """Pixels of a mask whose probability falls from 1 at the left edge of the crop to 0 at the right one."""
    box = Box(0, 0, 32, 32)
    seen = Observation(0, box, np.zeros((32, 32, 3), np.uint8), np.zeros((3, 32, 32), np.uint8), unseen_ns=unseen_ns)
    slope = np.tile(np.linspace(1, 0, 32, dtype=np.float32), (32, 1))
    return paste_window(slope, (seen,), CROP, IMAGE, 32, 32, 0.5).area


def test_the_mask_of_an_object_grows_while_nothing_of_it_is_seen():
    areas = [area(round(seconds * 1e9)) for seconds in (0.0, 0.1, 0.3, 2.0)]
    assert areas == sorted(areas) and areas[0] == 32 * 16 and areas[-1] == 32 * 24


def test_the_threshold_falls_with_its_time_constant_and_never_rises():
    assert lowered(0.5, 0) == 0.5
    share = (lowered(0.5, round(UNSEEN_S * 1e9)) - UNSEEN_THRESHOLD) / (0.5 - UNSEEN_THRESHOLD)
    assert share == pytest.approx(np.exp(-1))
    assert lowered(0.1, 10**9) == pytest.approx(0.1)
