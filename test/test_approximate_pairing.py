"""Pairing by nearest stamp with the real message_filters, guarded against its faults.

message_filters is part of every ROS 2, but no wheel of it exists: with pip alone these tests skip.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from frames import labels_with

from c2f_ros.contract import InputError
from c2f_ros.records import Frame
from c2f_ros.steps.step1_read import instances_of_labels

pytest.importorskip("message_filters", reason="message_filters is not installed; it comes with ROS 2 from apt")
pytestmark = pytest.mark.ros

PERIOD, SHIFT = 100_000_000, 4_000_000


def ros_header(stamp_ns: int):
    from builtin_interfaces.msg import Time

    return SimpleNamespace(stamp=Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9))


def make(buffer: int = 8):
    from c2f_ros.approximate_pairing import ApproximatePairing

    return ApproximatePairing(buffer, 0.01, 0.2)


def add_frame(pairing, stamp: int):
    return pairing.add_frame(Frame(stamp, None, np.zeros((48, 80, 3), np.uint8), "rgb8", 0.0), ros_header(stamp))


def add_masks(pairing, stamp: int, labels=None):
    labels = labels_with((1, 1, 5, 5)) if labels is None else labels
    return pairing.add_instances(instances_of_labels(stamp, labels), ros_header(stamp))


def test_nearest_stamps_within_the_slop_pair_and_keep_the_image_s_stamp():
    pairing = make()
    assert add_frame(pairing, PERIOD) is None
    pair = add_masks(pairing, PERIOD + SHIFT)
    assert (pair.frame.stamp_ns, pair.instances.stamp_ns) == (PERIOD, PERIOD + SHIFT)


def test_it_pairs_again_after_a_bag_loops_with_leftovers_queued():
    pairing, paired = make(), 0
    for _ in range(3):
        for k in range(20):
            paired += add_frame(pairing, 10**9 + k * PERIOD) is not None
            if k < 17:
                paired += add_masks(pairing, 10**9 + k * PERIOD + SHIFT) is not None
    assert paired == 3 * 17
    assert pairing.counts.resets >= 2


def test_an_exception_downstream_leaves_no_lock_held():
    pairing = make()
    add_frame(pairing, PERIOD)
    with pytest.raises(InputError, match="48x80"):
        add_masks(pairing, PERIOD, np.zeros((9, 9), np.uint8))
    add_frame(pairing, 2 * PERIOD)
    assert add_masks(pairing, 2 * PERIOD) is not None


def test_what_found_no_partner_is_counted_and_memory_is_bounded():
    pairing = make(buffer=8)
    for k in range(100):
        add_frame(pairing, k * PERIOD)
    assert pairing.counts.unpaired_images == 92
