"""Samples are what the runtime would give the network, with the truth beside it, in tracks."""

from dataclasses import replace

import numpy as np
import pytest
from frames_of_rectangles import HEIGHT, WIDTH, frame_of, rectangle, two_frames
from small_stores import STILL

from c2f_ros.contract import MASK_CHANNELS, CropSpec, TemporalSpec
from c2f_ros.crops import observe_object, stretch_mask, window_inputs
from c2f_ros.geometry import EMPTY_MASK, common_sizes, cut_mask, place
from c2f_ros.records import SourceFrame, SourceObject
from c2f_ros.sources.predicted import MatchedObject
from c2f_train.data.samples import AMODAL, RGB, VISIBLE, Cutting, cut_tracks, input_spec, visible_masks
from c2f_train.data_config import DataConfig

SQUARE, STRETCHED = CropSpec("square", 16, 2.0, 0.22), CropSpec("stretched", 32, 2.0, 0.0)
OTHERS, INSIDE = 4, 5


def cutting(crop=SQUARE, data=STILL, frames=1, masks=MASK_CHANNELS, predicted=False):
    return Cutting(crop, data, masks, frames, predicted)


def observed(frame, identity, crop, masks=MASK_CHANNELS, bounds=None):
    visible = place(frame.labels == identity)
    return observe_object(frame.rgb, "rgb8", frame.labels, visible, crop, masks, frame.stamp_ns, bounds)


def test_square_records_are_the_runtime_s_crops_with_the_whole_mask_beside():
    frames = two_frames()
    tracks, without_truth = cut_tracks(frames, cutting(), (1,))
    assert without_truth == 0
    assert [len(track.records) for track in tracks] == [2, 2]  # object 1 is always hidden
    for identity, track in zip((2, 3), tracks, strict=True):
        for frame, record in zip(frames, track.records, strict=True):
            seen = observed(frame, identity, SQUARE)
            np.testing.assert_array_equal(record[RGB], seen.rgb.transpose(2, 0, 1))
            np.testing.assert_array_equal(record[VISIBLE:AMODAL], seen.masks)
            assert (record[VISIBLE] <= record[AMODAL]).all()
    np.testing.assert_allclose(tracks[0].occlusion, [10 * 20 / 400, 0.0], atol=1e-6)
    assert tracks[0].seen.all()


def network_input(window, crop, masks, frames):
    temporal = TemporalSpec("window", frames)
    image, planes = window_inputs([window], crop, input_spec(crop, masks), temporal)
    return image[0], planes[0]


@pytest.mark.parametrize("frames", [1, 2])
def test_stretched_records_are_the_network_s_input_scaled_alike_within_a_window(frames):
    sequence, masks = two_frames(), ("visible",)
    tracks, _ = cut_tracks(sequence, cutting(STRETCHED, frames=frames, masks=masks), (1,))
    assert [len(track.records) for track in tracks] == [2, 2]
    windows = [[0, 1]] if frames == 2 else [[0], [1]]
    for identity, track in zip((2, 3), tracks, strict=True):
        for window in windows:
            seen = [observed(sequence[t], identity, STRETCHED, masks) for t in window]
            image, planes = network_input(seen, STRETCHED, masks, len(window))
            records = track.records[window]
            assert np.abs(records[:, RGB] / 255 - image).max() <= 0.5 / 255 + 1e-6
            np.testing.assert_array_equal(records[:, VISIBLE] / 255, planes[:, 0])
            boxes = [o.box for o in seen]
            for record, t, box, fill in zip(records, window, boxes, common_sizes(boxes, 32), strict=True):
                whole = stretch_mask(cut_mask(sequence[t].objects[identity].amodal, box), *fill, 32)
                np.testing.assert_array_equal(record[AMODAL] != 0, whole)


def test_a_long_track_is_parted_into_windows_that_are_scaled_alike():
    frames = [frame_of([rectangle(5, 5, 15 + 4 * t, 15)], t) for t in range(5)]
    tracks, _ = cut_tracks(frames, cutting(STRETCHED, frames=2, masks=("visible",)), (1,))
    assert [len(track.records) for track in tracks] == [2, 2, 1]
    widths = [[int(record[VISIBLE].any(0).sum()) for record in track.records] for track in tracks]
    assert widths[0][0] < widths[0][1] and widths[1][0] < widths[1][1]


def hidden_in_the_middle(count=5):
    """Object 1 stands still; object 2 hides it but in the first and the last frame."""
    back = rectangle(20, 10, 30, 20)
    hides, beside = rectangle(15, 5, 35, 25), rectangle(40, 5, 58, 25)
    return [frame_of([back, beside if t in (0, count - 1) else hides], t) for t in range(count)]


def test_hidden_frames_are_kept_for_windows_and_cut_around_the_box_seen_last():
    frames = hidden_in_the_middle()
    track = cut_tracks(frames, cutting(frames=3), (1,))[0][0]
    np.testing.assert_array_equal(track.seen, [True, False, False, False, True])
    np.testing.assert_array_equal(track.occlusion, [0, 1, 1, 1, 0])
    assert not track.records[1:4, VISIBLE].any()
    for record in track.records:
        np.testing.assert_array_equal(record[AMODAL], track.records[0, AMODAL])
    assert track.records[1, OTHERS].all(where=track.records[1, AMODAL] > 0)
    images = cut_tracks(frames, cutting(frames=1), (1,))[0][0]
    np.testing.assert_array_equal(images.records, track.records[[0, 4]])


def test_a_track_ends_where_the_object_leaves_and_hidden_ends_are_cut_to_a_window():
    frames = hidden_in_the_middle(9)[:8]
    assert [len(t.records) for t in cut_tracks(frames, cutting(frames=3), (1,))[0]] == [3, 8]
    gone = replace(frames[3], objects={1: SourceObject("thing", EMPTY_MASK), 2: frames[3].objects[2]})
    back = hidden_in_the_middle()[0]
    tracks = cut_tracks([*frames[:3], gone, back], cutting(frames=3), (1,))[0]
    assert [len(track.records) for track in tracks] == [3, 5, 1]


def test_too_few_visible_pixels_count_as_unseen():
    frames = two_frames()
    data = replace(STILL, min_visible_pixels=201)
    tracks, _ = cut_tracks(frames, cutting(data=data), (1,))
    assert [len(track.records) for track in tracks] == [2, 1]  # 200 pixels of object 2 are seen in the first frame


def test_objects_without_truth_are_left_out_and_counted_but_still_hide_others():
    frame = two_frames()[0]
    objects = {2: frame.objects[2], 3: SourceObject("thing", None)}
    tracks, without_truth = cut_tracks([replace(frame, objects=objects)] * 2, cutting(), (1,))
    assert (len(tracks), without_truth) == (1, 2)
    assert tracks[0].records[0, OTHERS].any()


def test_unsegmented_objects_disappear_from_the_others_plane_of_a_whole_track():
    masks = [rectangle(x, 10, x + 9, 20) for x in range(0, 54, 6)]
    frames = [frame_of(masks, t) for t in range(2)]
    data = replace(STILL, unsegmented_fraction=1.0)
    shares = []
    for seed in range(40):
        track = cut_tracks(frames, cutting(data=data), (seed,))[0][4]
        np.testing.assert_array_equal(track.records[0, OTHERS], track.records[1, OTHERS])
        shares.append(track.records[0, OTHERS].mean())
    assert 8 <= shares.count(0) < 35 and len(set(shares)) > 3


def test_predicted_masks_are_the_input_and_the_true_ones_have_a_plane_of_their_own():
    frame = two_frames()[0]
    labels = np.where(rectangle(10, 10, 18, 30), np.int32(2), np.int32(0))
    item = MatchedObject("thing", frame.objects[2].amodal, place(frame.labels == 2), 0.9)
    predicted = SourceFrame(0, frame.rgb, labels, {2: item})
    record = cut_tracks([predicted], cutting(predicted=True), (1,))[0][0].records[0]
    assert len(record) == 8
    assert record[VISIBLE].sum() < record[-2].sum() < record[AMODAL].sum()
    assert (record[VISIBLE] <= record[-2]).all()


def test_masks_are_found_by_large_ids_too():
    labels = np.zeros((HEIGHT, WIDTH), np.int32)
    labels[3:6, 4:9], labels[20:22, 30:31] = 1_000_001, 7
    found = visible_masks(labels)
    assert sorted(found) == [7, 1_000_001]
    for identity, mask in found.items():
        np.testing.assert_array_equal(mask.full(HEIGHT, WIDTH), labels == identity)
    assert not visible_masks(np.zeros((4, 4), np.int32))
    full = visible_masks(np.full((4, 4), 1_000_001, np.int32))
    assert full[1_000_001].area == 16


@pytest.mark.parametrize("crop", [SQUARE, STRETCHED])
def test_the_scale_range_draws_the_crop_s_scale(crop):
    frame = frame_of([rectangle(25, 15, 35, 25)])
    data: DataConfig = replace(STILL, scale_range=(1.5, 3.0))
    shares = []
    for seed in range(200):
        record = cut_tracks([frame], cutting(crop, data), (seed,))[0][0].records[0]
        shares.append(np.sqrt((record[AMODAL] / 255).mean()))
    assert 1 / 3.4 < min(shares) < 1 / 2.7 and 1 / 1.7 < max(shares) < 1 / 1.35


def test_jitter_moves_the_crop_and_the_seed_decides_how():
    frames = two_frames()
    data = replace(STILL, scale_jitter=0.2, shift_jitter=0.1)
    for crop in (SQUARE, STRETCHED):
        a, b, c = (cut_tracks(frames, cutting(crop, data), (seed,))[0][1].records for seed in (1, 1, 2))
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()


def test_value_ranges_follow_the_crop_rule():
    assert input_spec(SQUARE).mean == (0.5, 0.5, 0.5) and input_spec(SQUARE).std == (0.25, 0.25, 0.25)
    published = input_spec(STRETCHED, ("visible",))
    assert (published.mean, published.std, published.mask_channels) == ((0.0,) * 3, (1.0,) * 3, ("visible",))
