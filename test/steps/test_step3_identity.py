"""Upstream's ids are kept; own ids follow masks from frame to frame and are never reused."""

import numpy as np
from frames import labels_with, paired

from c2f_ros.records import Instances, PairedFrame, VisibleInstance
from c2f_ros.steps.step3_identity import Identities, mask_iou


def nameless(pair: PairedFrame, *names: str) -> PairedFrame:
    given = list(names) or [""] * len(pair.instances.instances)
    instances = tuple(
        VisibleInstance(name, i.class_id, i.score, i.visible)
        for name, i in zip(given, pair.instances.instances, strict=True)
    )
    return PairedFrame(pair.frame, Instances(pair.instances.stamp_ns, instances, pair.instances.labels))


def test_upstream_ids_are_kept():
    assert Identities(False, 0.3, 2).assign(paired(labels_with((1, 1, 9, 9), (20, 1, 30, 9)))).track_ids == ("1", "2")


def test_own_ids_follow_moving_masks_even_when_upstream_swaps_their_order():
    identities = Identities(True, 0.3, 2)
    first = identities.assign(paired(labels_with((10, 10, 20, 20), (40, 10, 60, 30)))).track_ids
    second = identities.assign(paired(labels_with((42, 10, 62, 30), (12, 10, 22, 20)))).track_ids
    assert second == first[::-1]


def test_nameless_instances_get_ids_beside_named_ones():
    ids = (
        Identities(False, 0.3, 2)
        .assign(nameless(paired(labels_with((1, 1, 9, 9), (20, 1, 30, 9))), "", "cup"))
        .track_ids
    )
    assert ids == ("own_1", "cup")


def test_a_track_survives_short_absence_and_a_number_is_never_used_again():
    identities, empty = Identities(True, 0.3, 2), labels_with()
    here = labels_with((10, 10, 20, 20))
    assert identities.assign(paired(here)).track_ids == ("own_1",)
    for _ in range(2):
        identities.assign(paired(empty))
    assert identities.assign(paired(here)).track_ids == ("own_1",)
    for _ in range(3):
        identities.assign(paired(empty))
    assert identities.assign(paired(here)).track_ids == ("own_2",)
    identities.reset()
    assert identities.assign(paired(here)).track_ids == ("own_3",)


def test_far_masks_are_not_the_same_object():
    identities = Identities(True, 0.3, 2)
    identities.assign(paired(labels_with((1, 1, 9, 9))))
    assert identities.assign(paired(labels_with((50, 30, 60, 40)))).track_ids == ("own_2",)


def test_memory_is_bounded_over_many_births():
    identities = Identities(True, 0.3, 2)
    for k in range(300):
        identities.assign(paired(labels_with((k % 70, 1 + k % 40, k % 70 + 3, k % 40 + 4))))
    assert len(identities._tracks) <= 3


def test_iou_matrix_equals_whole_image_iou():
    labels = np.random.default_rng(3).integers(0, 4, (48, 80)).astype(np.uint8)
    other = np.random.default_rng(4).integers(0, 3, (48, 80)).astype(np.uint8)
    a = [i.visible for i in paired(labels).instances.instances]
    b = [i.visible for i in paired(other).instances.instances]
    expected = [
        [((labels == i) & (other == j)).sum() / ((labels == i) | (other == j)).sum() for j in (1, 2)] for i in (1, 2, 3)
    ]
    assert np.allclose(mask_iou(a, b), expected)
