"""Windows: bounded, in order, independent of other tracks."""

import numpy as np
import pytest
from frames import labels_with, manifest, paired

from c2f_ros.contract import InputError
from c2f_ros.records import TrackedFrame
from c2f_ros.steps.step4_observe import WindowStore


def tracked(labels: np.ndarray, stamp: int, *ids: str) -> TrackedFrame:
    pair = paired(labels, stamp, seed=stamp % 1000)
    return TrackedFrame(pair, ids or tuple(i.upstream_id for i in pair.instances.instances))


def test_a_window_holds_the_last_observations_oldest_first():
    store = WindowStore(manifest(window=3), 8, 10.0)
    for k in range(5):
        observed = store.observe(tracked(labels_with((10, 10, 20, 20)), k))
    assert [o.stamp_ns for o in observed.windows[0]] == [2, 3, 4]


def test_a_snapshot_does_not_change_when_later_frames_are_observed():
    store = WindowStore(manifest(window=3), 8, 10.0)
    first = store.observe(tracked(labels_with((10, 10, 20, 20)), 0))
    store.observe(tracked(labels_with((10, 10, 20, 20)), 1))
    assert len(first.windows[0]) == 1


def test_ten_thousand_frames_and_five_hundred_births_leave_memory_flat():
    store = WindowStore(manifest(window=4), 8, 0.5)
    labels, most = labels_with((10, 10, 14, 14)), 0
    for k in range(10_000):
        store.observe(tracked(labels, k * 50_000_000, f"track {k // 20}"))
        most = max(most, len(store))
    assert most <= 12


def test_a_stale_frame_is_refused_and_the_window_keeps_its_order():
    store = WindowStore(manifest(window=3), 8, 10.0)
    store.observe(tracked(labels_with((10, 10, 20, 20)), 5))
    with pytest.raises(InputError, match="comes after one of 5 ns"):
        store.observe(tracked(labels_with((10, 10, 20, 20)), 5))
    assert len(store.observe(tracked(labels_with((10, 10, 20, 20)), 6)).windows[0]) == 2


def test_a_track_that_was_gone_too_long_starts_anew():
    store = WindowStore(manifest(window=3), 8, 1.0)
    store.observe(tracked(labels_with((10, 10, 20, 20)), 0))
    assert len(store.observe(tracked(labels_with((10, 10, 20, 20)), 2_000_000_000)).windows[0]) == 1


def test_beyond_the_limit_the_smallest_objects_are_left_out():
    store = WindowStore(manifest(), 2, 10.0)
    observed = store.observe(tracked(labels_with((0, 0, 10, 10), (20, 0, 23, 3), (40, 0, 60, 20)), 0))
    assert [w is not None for w in observed.windows] == [True, False, True]


def test_planes_are_visible_others_inside_in_the_manifest_s_order():
    store = WindowStore(manifest(), 8, 10.0)
    observed = store.observe(tracked(labels_with((0, 10, 16, 26), (16, 10, 32, 26)), 0))
    box, (visible, others, inside) = observed.windows[0][0].box, observed.windows[0][0].masks
    assert (box.x0, box.x1, box.width) == (-8, 24, 32)
    assert visible.shape == (64, 64)
    assert visible[20, 32] == 255 and visible[20, 60] == 0
    assert others[20, 60] == 255 and others[20, 32] == 0
    assert inside[20, 4] == 0 and inside[20, 32] == 255


def test_an_object_s_crop_does_not_depend_on_the_order_of_instances():
    labels = labels_with((0, 10, 16, 26), (16, 10, 32, 26))
    swapped = np.where(labels == 1, 2, np.where(labels == 2, 1, 0)).astype(np.uint8)
    a = WindowStore(manifest(), 8, 10.0).observe(tracked(labels, 0)).windows[0][0]
    b = WindowStore(manifest(), 8, 10.0).observe(tracked(swapped, 0)).windows[1][0]
    assert np.array_equal(a.masks, b.masks) and np.array_equal(a.rgb, b.rgb)
