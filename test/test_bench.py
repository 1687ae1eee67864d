"""The bench: scenes that are what they say, times of every stage, and a report that needs no ROS."""

import json

import numpy as np
import pytest

from c2f_ros import bench, bench_cli
from c2f_ros.bench import Case, EchoEngine, StageClock, StageTime, Timing, fitted_cost, time_case
from c2f_ros.bench_scene import MovingScene
from c2f_ros.bundle import find_model, load_bundle
from c2f_ros.parameters import make_parameters


def test_scenes_are_the_same_every_time_and_their_things_move_vanish_and_come_back():
    first, again = MovingScene(96, 160, 10), MovingScene(96, 160, 10)
    seen = []
    for index in range(120):
        pixels, labels = first.frame(index)
        assert pixels.shape == (96, 160, 3) and labels.shape == (96, 160) and labels.max() <= 10
        if index % 40 == 0:
            same = again.frame(index)
            assert np.array_equal(pixels, same[0]) and np.array_equal(labels, same[1])
        seen.append([bool((labels == number).any()) for number in range(1, 11)])
    shown = np.array(seen)
    assert shown.any(0).all() and shown[0].sum() >= 8
    comes_back = (~shown[:-1] & shown[1:]).any(0)
    assert comes_back.any()


@pytest.mark.parametrize("objects", [0, 1, 30])
def test_scenes_have_as_many_things_as_asked_for(objects):
    labels = np.concatenate([MovingScene(120, 160, objects).frame(k)[1].ravel() for k in range(0, 60, 6)])
    assert len(set(labels.tolist()) - {0}) == objects


@pytest.mark.parametrize("model", ["c2f_nano_video", "c2f_nano"])
def test_every_stage_is_timed_and_what_needs_ros_is_left_out_without_it(model):
    bundle = load_bundle(find_model(model))
    case = Case(model, 96, 160, 3)
    timing = time_case(bundle, EchoEngine(bundle), make_parameters({"model": model}), case, 4, None)
    assert list(timing.stages) == [name for name in bench.STAGES if name not in bench.ROS_STAGES]
    assert all(0 < time.cpu_median_ms <= time.cpu_p95_ms for time in timing.stages.values())
    names = [name for name in timing.stages if name != "engine"]
    assert timing.sum_of_medians_ms == pytest.approx(sum(timing.stages[name].median_ms for name in names))
    assert timing.visible == pytest.approx(3, abs=1) and timing.message_bytes == 0


@pytest.mark.ros
def test_with_ros_messages_are_made_and_serialized():
    bundle, ros = load_bundle(find_model("c2f_nano")), bench.ros_side()
    parameters = make_parameters({"model": "c2f_nano"})
    timing = time_case(bundle, EchoEngine(bundle), parameters, Case("c2f_nano", 96, 160, 3), 4, ros)
    assert tuple(timing.stages) == bench.STAGES
    assert timing.message_bytes > 100


def test_the_path_is_all_stages_but_the_engine_frame_by_frame():
    clock = StageClock()
    clock.wall.update(decode=[1.0, 2.0, 9.0], engine=[50.0] * 3, paste=[2.0, 1.0, 1.0])
    clock.cpu.update(decode=[1.0, 1.0, 1.0], engine=[50.0] * 3, paste=[2.0, 3.0, 4.0])
    assert clock.path().median_ms == 3.0 and clock.path().cpu_median_ms == 4.0


def test_the_fitted_cost_finds_what_grows_with_objects_and_pixels():
    timings = []
    for height, width in ((480, 640), (720, 1280)):
        for objects in (1, 10, 30):
            pixels = height * width * 1e-6
            ms = 0.5 + 0.2 * objects + 1.5 * pixels + 0.01 * objects * pixels
            path = StageTime(ms, ms, ms, ms)
            timings.append(Timing(Case("m", height, width, objects), 1, {}, path, 0.0, 0.0, 0.0))
    found = fitted_cost(timings)
    assert list(found.values()) == pytest.approx([0.5, 0.2, 1.5, 0.01], abs=1e-3)
    assert fitted_cost(timings[:4]) is None


def test_the_command_prints_a_table_and_writes_all_numbers(tmp_path, capsys):
    out = tmp_path / "deep" / "bench.json"
    words = ["--model", "c2f_nano", "--size", "160x96", "--objects", "2", "--frames", "2", "--no-engine"]
    assert bench_cli.main([*words, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "160x96 N=2" in printed and "sum of medians" in printed
    (timing,) = json.loads(out.read_text())["timings"]
    assert timing["case"] == {"model_id": "c2f_nano", "height": 96, "width": 160, "objects": 2}
    assert timing["cpu_sum_of_medians_ms"] > 0


@pytest.mark.parametrize(
    ("words", "said"), [(["--size", "big"], "expected columns x rows"), (["--model", "no_such"], "no_such")]
)
def test_a_malformed_size_or_an_unknown_model_is_one_sentence(words, said, capsys):
    assert bench_cli.main([*words, "--no-engine", "--frames", "1"]) == 1
    assert said in capsys.readouterr().err
