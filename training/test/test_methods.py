"""Predictors in a clip: memory per followed object, and the simple rival of a memory."""

import numpy as np
import pytest
from frames_of_rectangles import HEIGHT, WIDTH, frame_of, rectangle

from c2f_ros.contract import MASK_CHANNELS, CropSpec, InputSpec, StateSpec, TemporalSpec, state_bytes
from c2f_ros.geometry import Box, PlacedMask, place
from c2f_ros.motion import STILL, Similarity
from c2f_ros.records import SourceFrame, SourceObject
from c2f_train.scores.evaluate import MOVED, RULE, evaluate
from c2f_train.scores.evaluation_report import table_over_time, terminal_text, write_report
from c2f_train.scores.evaluation_result import EvaluationResult
from c2f_train.scores.methods import LastMasks, StreamMethod, View, WindowMethod, moved_mask

SIZE, PERIOD_NS = 16, 100_000_000
INPUT = InputSpec("rgb", (0.0,) * 3, (1.0,) * 3, MASK_CHANNELS)
STATES = (StateSpec("memory", "aligned", (1, SIZE, SIZE)), StateSpec("keys", "ring", (2,)))
STREAM = TemporalSpec("stream", 3, STATES, state_bytes(STATES, 3))
FOLLOWED = View(CropSpec("followed", SIZE, 1.5, 0.0), INPUT, STREAM)
SQUARE = View(CropSpec("square", SIZE, 2.0, 0.0), INPUT)


def still_scene(frames, hidden=()):
    """Object 1 stands still on a textured ground; object 2 before it in the frames `hidden`, else beside it."""
    rgb = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    whole = rectangle(20, 10, 36, 26)
    out = []
    for index in range(frames):
        front = rectangle(18, 8, 40, 30) if index in hidden else rectangle(44, 8, 58, 30)
        labels = np.where(front, 2, np.where(whole, 1, 0)).astype(np.int32)
        objects = {1: SourceObject("box", place(whole)), 2: SourceObject("wall", place(front))}
        out.append(SourceFrame(index * PERIOD_NS, rgb, labels, objects))
    return out


class Remembering:
    """Answers with what it was first shown of an object, kept in its states; counts how often it was asked."""

    def __init__(self):
        self.asked, self.ages, self.rows = 0, [], []

    def __call__(self, image, masks, states):
        assert set(states) == {"warp", "memory", "ages", "keys"}
        self.asked += 1
        self.rows.append(len(image))
        self.ages.append(states["ages"].copy())
        visible = masks[:, 0]
        is_new = (states["ages"] < 0).all(1)
        kept = np.where(is_new[:, None, None], visible, states["memory"][:, 0])
        return {
            "amodal": kept,
            "memory_next": kept[:, None],
            "keys_next": np.ones((len(image), 2), np.float32),
        }


def rows_of(frames, predictors, views, **options):
    return evaluate([("clip", frames)], predictors, SQUARE.crop, views=views, cases=0, **options)


def test_a_memory_completes_what_is_hidden_and_an_image_model_s_last_mask_is_its_rival():
    frames = still_scene(8, hidden=(3, 4, 5))
    answered = {"image": lambda image, masks: masks[:, 0], "stream": Remembering()}
    result = rows_of(frames, answered, {"image": SQUARE, "stream": FOLLOWED})
    timed = result.rows_over_time()
    assert timed["stream"]["invisible_frames"] == 3
    assert timed["stream"]["miou_invisible"] > 75  # drawn a little larger the longer it is unseen
    assert timed["image"]["miou_invisible"] == 0
    assert timed["image" + MOVED]["miou_invisible"] > 95
    assert timed["stream" + RULE]["miou_invisible"] == pytest.approx(timed["stream"]["miou_invisible"], abs=8)
    rows = result.rows()
    assert rows["stream"]["object_frames"] == rows["image"]["object_frames"] == 8 + 5
    assert "stream" + MOVED not in rows


def test_the_memory_of_an_object_ends_when_it_was_not_seen_for_long_and_begins_anew():
    frames = still_scene(8, hidden=(2, 3, 4, 5))
    stream = Remembering()
    rows_of(frames, {"stream": stream}, {"stream": FOLLOWED}, keep_s=0.25)
    assert stream.rows == [2, 2, 2, 2, 1, 1, 2, 2]
    assert (stream.ages[6] < 0).all(1).tolist() == [True, False]


def test_a_memory_is_filled_in_frames_that_are_not_scored():
    stream = Remembering()
    result = rows_of(still_scene(6), {"stream": stream}, {"stream": FOLLOWED}, every=3)
    assert stream.asked == 6 and result.rows()["stream"]["object_frames"] == 4
    assert result.rows_over_time()["stream"]["flicker_pairs"] == 0
    assert table_over_time(rows_of([], {"stream": stream}, {"stream": FOLLOWED})) == ""


def test_scores_over_time_are_read_back_and_reported(tmp_path):
    result = rows_of(still_scene(6, hidden=(2,)), {"stream": Remembering()}, {"stream": FOLLOWED})
    again = EvaluationResult.from_json(result.to_json())
    assert again.rows_over_time() == result.rows_over_time()
    assert "1 invisible object-frames" in terminal_text(result)
    assert "| invisible |" in write_report(result, tmp_path).read_text()


def test_clips_do_not_share_memory():
    stream = Remembering()
    clips = [(name, still_scene(3)) for name in ("a", "b")]
    evaluate(clips, {"stream": stream}, SQUARE.crop, views={"stream": FOLLOWED}, cases=0)
    assert (stream.ages[3] < 0).all()


def test_followed_crops_without_a_memory_are_asked_about_hidden_objects_too():
    view = View(FOLLOWED.crop, INPUT)
    method = StreamMethod(lambda image, masks: masks[:, 0], view)
    frames = still_scene(2, hidden=(1,))
    sent = [{str(k): place(frame.labels == k) for k in np.unique(frame.labels) if k} for frame in frames]
    assert list(method.answer(frames[0], sent[0], True)) == ["1", "2"]
    assert list(method.answer(frames[1], sent[1], True)) == ["2", "1"]


def test_a_predictor_without_memory_answers_only_what_is_sent():
    method = WindowMethod(lambda image, masks: masks[:, 0], SQUARE)
    frame = frame_of([rectangle(5, 5, 20, 20), rectangle(30, 5, 50, 20)])
    found = method.answer(frame, {"x": place(frame.labels == 2)}, True)
    assert list(found) == ["x"] and found["x"].mask.box == Box(30, 5, 50, 20)
    assert method.answer(frame, {"x": place(frame.labels == 2)}, False) == {} == method.answer(frame, {}, True)


def test_a_mask_moves_with_its_object_to_the_pixel_and_is_cut_at_the_border():
    mask = place(rectangle(10, 10, 20, 18))
    assert moved_mask(mask, STILL, HEIGHT, WIDTH).box == mask.box
    assert moved_mask(mask, Similarity(1, 3.0, -2.0), HEIGHT, WIDTH).box == Box(13, 8, 23, 16)
    assert moved_mask(mask, Similarity(2, 0.0, 0.0), HEIGHT, WIDTH).box == Box(20, 20, 40, 36)
    assert moved_mask(mask, Similarity(1, 45.0, 0.0), HEIGHT, WIDTH).box == Box(55, 10, 60, 18)
    assert moved_mask(mask, Similarity(1, 60.0, 0.0), HEIGHT, WIDTH).is_empty
    assert moved_mask(PlacedMask(Box(0, 0, 0, 0), np.zeros((0, 0), bool)), STILL, HEIGHT, WIDTH).is_empty


def test_the_last_mask_of_an_object_that_was_never_answered_or_is_lost_is_empty():
    last = LastMasks()
    assert last.moved("a", STILL, HEIGHT, WIDTH).is_empty
    last.remember("a", place(rectangle(10, 10, 20, 18)), Similarity(1, 1.0, 0.0))
    assert last.moved("a", None, HEIGHT, WIDTH).is_empty
    assert last.moved("a", Similarity(1, 4.0, 0.0), HEIGHT, WIDTH).box == Box(13, 10, 23, 18)
