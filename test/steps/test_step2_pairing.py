"""Exact pairing: nothing wrong, nothing leaked, back after a bag loop. Every fault here was seen in the field."""

import numpy as np
import pytest
from frames import labels_with

from c2f_ros.contract import InputError
from c2f_ros.records import Frame
from c2f_ros.steps.step1_read import instances_of_labels
from c2f_ros.steps.step2_pairing import StampPairing

PERIOD = 33_333_333


def frame(stamp: int) -> Frame:
    return Frame(stamp, None, np.zeros((48, 80, 3), np.uint8), "rgb8", 0.0)


def masks(stamp: int):
    return instances_of_labels(stamp, labels_with((1, 1, 5, 5)))


def make(buffer: int = 8) -> StampPairing:
    return StampPairing(buffer, 0.2)


def test_pairs_carry_equal_stamps_in_either_order_of_arrival():
    pairing = make()
    assert pairing.add_frame(frame(1)) is None
    assert pairing.add_instances(masks(1)).frame.stamp_ns == 1
    assert pairing.add_instances(masks(2)) is None
    pair = pairing.add_frame(frame(2))
    assert pair.frame.stamp_ns == pair.instances.stamp_ns == 2
    assert (pairing.counts.paired, pairing.waiting) == (2, 0)


def test_one_percent_loss_gives_no_wrong_pair_and_every_message_is_accounted_for():
    pairing, rng, images, labels, paired = make(), np.random.default_rng(0), 0, 0, 0
    for k in range(2000):
        if rng.random() > 0.01:
            images += 1
            pair = pairing.add_frame(frame(k * PERIOD))
            paired += pair is not None
        if rng.random() > 0.01:
            labels += 1
            pair = pairing.add_instances(masks(k * PERIOD))
            if pair is not None:
                paired += 1
                assert pair.frame.stamp_ns == pair.instances.stamp_ns
    counts = pairing.counts
    assert counts.paired == paired > 1900
    waiting_images = images - paired - counts.unpaired_images
    waiting_masks = labels - paired - counts.unpaired_masks
    assert waiting_images >= 0 and waiting_masks >= 0
    assert waiting_images + waiting_masks == pairing.waiting <= 16


def test_leftovers_are_bounded_when_one_topic_is_silent():
    pairing = make(buffer=8)
    for k in range(500):
        pairing.add_frame(frame(k * PERIOD))
    assert pairing.waiting == 8
    assert pairing.counts.unpaired_images == 492


@pytest.mark.parametrize("leftovers", [0, 3])
@pytest.mark.parametrize("is_image_first", [True, False])
def test_pairing_recovers_after_a_bag_loop_whichever_topic_restarts_first(leftovers, is_image_first):
    pairing, paired = make(), []
    for k in range(30):
        pairing.add_frame(frame(10**9 + k * PERIOD))
        if k < 30 - leftovers:
            pairing.add_instances(masks(10**9 + k * PERIOD))
    for k in range(30):
        if is_image_first:
            found = pairing.add_frame(frame(k * PERIOD)), pairing.add_instances(masks(k * PERIOD))
        else:
            found = pairing.add_instances(masks(k * PERIOD)), pairing.add_frame(frame(k * PERIOD))
        paired += [pair.frame.stamp_ns for pair in found if pair is not None]
    assert paired == [k * PERIOD for k in range(30)]
    assert pairing.counts.resets == 1


def test_a_leftover_of_the_old_round_does_not_pair_or_stop_the_new_one():
    pairing = make()
    pairing.add_frame(frame(5 * 10**9))
    pairing.add_instances(masks(5 * 10**9))
    pairing.add_frame(frame(6 * 10**9))
    pairing.add_frame(frame(0))
    pairing.add_instances(masks(6 * 10**9))
    assert pairing.add_frame(frame(PERIOD)) is None
    assert pairing.add_instances(masks(0)) is not None
    assert pairing.add_instances(masks(PERIOD)) is not None


def test_an_exception_in_the_consumer_does_not_block_pairing():
    pairing = make()
    pairing.add_frame(frame(1))
    with pytest.raises(InputError, match="48x80"):
        pairing.add_instances(instances_of_labels(1, np.zeros((10, 10), np.uint8)))
    pairing.add_frame(frame(2))
    assert pairing.add_instances(masks(2)) is not None


def test_a_pair_older_than_the_last_one_is_dropped_and_counted():
    pairing = make()
    for stamp in (2 * PERIOD, PERIOD):
        pairing.add_frame(frame(stamp))
    assert pairing.add_instances(masks(2 * PERIOD)) is not None
    assert pairing.add_instances(masks(PERIOD)) is None
    assert pairing.counts.late == 1


def test_reset_forgets_what_waits():
    pairing = make()
    pairing.add_frame(frame(7))
    pairing.reset()
    assert pairing.add_instances(masks(7)) is None
