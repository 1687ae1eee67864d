"""Simulated upstream segmenters: every fault does what it says, in label space, and the same for the same seed."""

import numpy as np
import pytest

from c2f_ros.contract import InputError
from c2f_train.data.label_changes import Cut, Recolored, draw_ragged, touching
from c2f_train.data.label_faults import Stretches, stretches
from c2f_train.data.upstream import KINDS, TrackFaults, UpstreamFault, UpstreamFrame, draw_mixture, simulate

HEIGHT, WIDTH, FRAMES = 96, 128, 24


def labels_at(index):
    """1 and 2 touch; 3 stands apart and vanishes for four frames; 4 appears late."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint16)
    labels[20:60, 10 + index : 40 + index] = 1
    labels[30:50, 40 + index : 56 + index] = 2
    if not 8 <= index < 12:
        labels[70:90, 10:40] = 3
    if index >= 6:
        labels[5:15, 90:120] = 4
    return labels


@pytest.fixture
def frames():
    out = []
    for index in range(FRAMES):
        labels = labels_at(index)
        out.append(UpstreamFrame(index * 100, labels, {int(v): 10 * int(v) for v in np.unique(labels) if v}, index))
    return out


def faulty(frames, kind, strength, seed=1):
    return simulate(frames, UpstreamFault(kind, strength), seed)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strength", [1, 2])
def test_a_fault_is_the_same_for_the_same_seed_and_names_what_it_sends(frames, kind, strength):
    sent, again = faulty(frames, kind, strength), faulty(frames, kind, strength)
    assert [f.stamp_ns for f in sent] == [f.stamp_ns for f in again]
    for one, other in zip(sent, again, strict=True):
        np.testing.assert_array_equal(one.labels, other.labels)
        assert set(one.stands_for) == {int(v) for v in np.unique(one.labels) if v}
        assert set(one.stands_for.values()) <= {0, 10, 20, 30, 40}
        assert one.labels.dtype == np.uint16
    for index, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.labels, labels_at(index))


@pytest.mark.parametrize("kind", KINDS)
def test_strength_2_does_more_than_strength_1(frames, kind):
    def harm(strength):
        total = 0.0
        for seed in range(6):
            sent = {f.number: f for f in faulty(frames, kind, strength, seed)}
            for frame in frames:
                got = sent.get(frame.number)
                if got is None or got.labels.shape != frame.labels.shape:
                    total += 1 if got is None else 1 - got.labels.size / frame.labels.size
                else:
                    total += float((got.labels != frame.labels).mean())
        return total

    assert 0 < harm(1) < harm(2)


def test_ragged_borders_keep_every_object_near_where_it_is(frames):
    for frame, sent in zip(frames, faulty(frames, "ragged", 2), strict=True):
        for value in frame.stands_for:
            true, given = frame.labels == value, sent.labels == value
            assert 0.3 < (true & given).sum() / (true | given).sum() <= 1


def test_ragged_borders_never_swallow_an_object():
    labels = np.zeros((64, 64), np.uint16)
    labels[10, 10:40] = 7
    changed = draw_ragged(np.random.default_rng(0), 64, 64, 2.0, 8.0, np.ones(64, np.int64)).apply(labels)
    np.testing.assert_array_equal(changed == 7, labels == 7)


def test_merged_instances_are_sent_with_the_id_of_the_larger_one(frames):
    merged = [k for k, f in enumerate(faulty(frames, "merged", 2)) if 2 not in f.stands_for]
    assert merged
    for index in merged:
        sent = faulty(frames, "merged", 2)[index]
        np.testing.assert_array_equal(sent.labels == 1, np.isin(labels_at(index), (1, 2)))
        assert sent.stands_for[1] == 10


def test_a_split_instance_loses_a_part_or_sends_it_as_an_object_that_is_none(frames):
    lost = own = 0
    for seed in range(4):
        for frame, sent in zip(frames, faulty(frames, "split", 2, seed), strict=True):
            assert set(frame.stands_for) <= set(sent.stands_for)
            own += any(true == 0 for true in sent.stands_for.values())
            lost += int((sent.labels == 0).sum() > (frame.labels == 0).sum())
    assert lost and own


def test_a_cut_takes_the_part_beyond_its_line():
    labels = np.zeros((20, 20), np.uint16)
    labels[5:15, 2:18] = 3
    np.testing.assert_array_equal(Cut(3, 9, 0.0, 0.0).apply(labels)[10, 1:19], [0] + [3] * 8 + [9] * 8 + [0])
    np.testing.assert_array_equal(Cut(3, 0, 0.0, 5.0).apply(labels), labels)


def test_missed_instances_come_back_with_their_id(frames):
    sent = faulty(frames, "missed", 2)
    missing = [set(f.stands_for) - set(s.stands_for) for f, s in zip(frames, sent, strict=True)]
    assert any(missing) and not all(1 in part for part in missing)


def test_late_instances_are_not_sent_at_first_and_then_always(frames):
    for strength, least, most in ((1, 1, 4), (2, 4, 10)):
        sent = faulty(frames, "late", strength)
        for value, begins in ((1, 0), (2, 0), (4, 6)):
            has = [value in frame.stands_for for frame in sent]
            first = has.index(True)
            assert least <= first - begins <= most and all(has[first:])


def test_dropped_frames_are_missing_and_the_others_unchanged(frames):
    sent = faulty(frames, "dropped", 2)
    assert 1 < len(sent) < FRAMES and sent[0].number == 0
    for frame in sent:
        np.testing.assert_array_equal(frame.labels, labels_at(frame.number))


def test_a_lower_rate_keeps_every_second_or_fourth_frame_with_its_stamp(frames):
    assert [f.stamp_ns for f in faulty(frames, "rate", 1)] == list(range(0, 2400, 200))
    assert [f.number for f in faulty(frames, "rate", 2)] == list(range(0, 24, 4))


def test_a_panning_camera_shows_a_moving_part_of_every_frame(frames):
    sent = faulty(frames, "pan", 2)
    for frame in sent:
        assert (frame.window.height, frame.window.width) == (62, 83)
        assert frame.window.clip(HEIGHT, WIDTH) == frame.window
        np.testing.assert_array_equal(frame.labels, labels_at(frame.number)[frame.window.slices])
    steps = [
        np.hypot(b.window.x0 - a.window.x0, b.window.y0 - a.window.y0) for a, b in zip(sent, sent[1:], strict=False)
    ]
    assert 3 < np.median(steps) < 7


def test_an_id_changes_only_after_its_object_was_hidden(frames):
    sent = faulty(frames, "renamed", 2)
    names = [[v for v, true in f.stands_for.items() if true == 30] for f in sent]
    assert names[:8] == [[3]] * 8 and names[8:12] == [[]] * 4
    assert names[12:] == [names[12]] * 12 and names[12] != [3]
    assert all({1, 2} <= set(f.stands_for) for f in sent)


def test_faults_add_up(frames):
    sent = faulty(faulty(faulty(frames, "renamed", 2), "pan", 1), "rate", 1)
    assert len(sent) == 12 and sent[-1].window is not None
    assert any(true == 30 and value != 3 for value, true in sent[-1].stands_for.items())


def test_an_unknown_fault_and_labels_of_another_type_are_refused(frames):
    with pytest.raises(InputError, match="expected one of ragged, merged"):
        UpstreamFault("blurred", 1)
    with pytest.raises(InputError, match="strength 3"):
        UpstreamFault("pan", 3)
    with pytest.raises(InputError, match="int64, expected uint16"):
        simulate([UpstreamFrame(0, frames[0].labels.astype(np.int64), {})], UpstreamFault("late", 1), 0)


def test_stretches_last_as_long_and_cover_the_share_they_should():
    rng = np.random.default_rng(0)
    lasts = np.concatenate([stretches(rng, 200, Stretches(0.3, 2, 6)) for _ in range(50)])
    assert lasts.mean() == pytest.approx(0.3, abs=0.03)


def test_instances_touch_across_a_gap_of_two_pixels_only():
    labels = labels_at(0)
    assert touching(labels, 1) == 2 and touching(labels, 3) == 0 and touching(labels, 99) == 0


def test_values_beyond_a_table_stay():
    labels = np.array([[0, 1, 5]], np.uint16)
    np.testing.assert_array_equal(Recolored(np.array([0, 2], np.uint16)).apply(labels), [[0, 2, 5]])


def test_faults_of_a_track_change_its_labels_and_leave_the_window_s_own(frames):
    window = [frame.labels for frame in frames[:8]]
    changed = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        faults = TrackFaults.draw(rng, window, 1, draw_mixture(rng, strong=0.5))
        for index, labels in enumerate(window):
            sent = faults.apply(labels, index)
            assert sent.shape == labels.shape and sent.dtype == np.uint16
            changed += not np.array_equal(sent, labels)
            np.testing.assert_array_equal(labels, labels_at(index))
    assert changed > 40


def test_merges_and_splits_of_a_track_leave_the_others_alone(frames):
    window = [frame.labels for frame in frames[:8]]
    for seed in range(10):
        faults = TrackFaults.draw(np.random.default_rng(seed), window, 1, [UpstreamFault("split", 2)])
        for index, labels in enumerate(window):
            sent = faults.apply(labels, index)
            np.testing.assert_array_equal(sent[labels != 1], labels[labels != 1])
