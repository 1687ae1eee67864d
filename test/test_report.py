"""The report: documented keys, one page without outside links, a film that plays, sums that add up."""

import json
import re

import numpy as np
import pytest
from frames import FakeEngine, bundle
from recordings import FRAMES, HEIGHT, WIDTH, recorded

from c2f_ros import report as report_module
from c2f_ros.bag import BagReader, find_topics
from c2f_ros.bag_making import BagOptions, write_bag
from c2f_ros.parameters import default_parameters
from c2f_ros.pictures import BAR, GAP, region_of_interest
from c2f_ros.pipeline import Pipeline
from c2f_ros.replay import FrameCounts, Run, replay_offline
from c2f_ros.report import write_report
from c2f_ros.report_text import report_lines
from c2f_ros.scoring import METHODS
from c2f_ros.truth import truth_frame


def make(folder, frames):
    write_bag(folder / "bag", frames, BagOptions())
    with BagReader(folder / "bag") as reader:
        topics = find_topics(reader.topic_types)
    out = folder / "out"
    run = replay_offline(
        folder / "bag", topics, Pipeline(bundle(), FakeEngine(), default_parameters()), out / "result.mcap"
    )
    return write_report(out, folder / "bag", topics, run), out


@pytest.fixture(scope="module")
def with_truth(tmp_path_factory):
    return make(tmp_path_factory.mktemp("with"), recorded(8))


@pytest.fixture(scope="module")
def without_truth(tmp_path_factory):
    return make(tmp_path_factory.mktemp("without"), recorded(is_truth_known=False))


def documented_keys():
    """The keys of the first column of the table in the module's docstring."""
    rows = [line for line in report_module.__doc__.splitlines() if line.startswith("| `")]
    return {key for row in rows for key in re.findall(r"`(\w+)`", row.split("|")[1])}


@pytest.mark.parametrize("which", ["with_truth", "without_truth"])
def test_keys_written_are_the_keys_documented(which, request):
    report, out = request.getfixturevalue(which)
    assert set(report) == documented_keys()
    assert json.loads((out / "report.json").read_text()) == report


@pytest.mark.parametrize("key", ["frames", "objects", "latency_ms", "files", "tracks"])
def test_nested_keys_are_documented_too(key, with_truth):
    (row,) = [line for line in report_module.__doc__.splitlines() if line.startswith(f"| `{key}`")]
    inner = set(re.findall(r"`(\w+)`", row.split("|")[2]))
    found = with_truth[0][key]
    found = next(iter(found.values())) if key in ("latency_ms", "tracks") else found
    assert set(found) == inner - {"FrameCounts"}


def test_every_method_is_scored(with_truth):
    report, _ = with_truth
    assert list(report["accuracy"]) == list(METHODS)
    for numbers in report["accuracy"].values():
        assert {"miou_full", "miou_occ", "miou_full_hidden", "miou_occ_mostly_hidden"} <= numbers.keys()
    assert report["scored"] == {"frames": 8, "missing": 0}


def test_tracks_have_one_value_per_frame(with_truth):
    report, _ = with_truth
    for track in report["tracks"].values():
        for key in ("occlusion", "iou", "frames_used", "status"):
            assert len(track[key]) == len(track["frame"]), key
        assert max(track["frame"]) < report["frames"]["inferred"]
    assert {k: t["class_id"] for k, t in report["tracks"].items()} == {"1": "box", "2": "plate"}


def test_what_only_a_sequence_shows_is_scored_too(with_truth):
    report, out = with_truth
    found = report["over_time"]
    assert set(found) == {"invisible", "flicker", "ids", "order"}
    assert found["invisible"]["invisible_frames"] > 0 and found["invisible"]["miou_invisible"] == 0.0
    assert list(found["flicker"]) == list(METHODS) and found["ids"]["id_switches"] == 0
    assert "Accuracy over time" in (out / "report.html").read_text()
    assert any(line.startswith("hidden wholly: mean IoU 0.0 over") for line in report_lines(report))


def test_without_ground_truth_nothing_is_made_up(without_truth):
    report, _ = without_truth
    assert (report["accuracy"], report["scored"], report["by_occlusion"]) == (None, None, [])
    assert report["over_time"] is None
    assert all("iou" not in track for track in report["tracks"].values())


@pytest.mark.parametrize("which", ["with_truth", "without_truth"])
def test_the_page_holds_everything_but_the_film(which, request):
    report, out = request.getfixturevalue(which)
    page = (out / "report.html").read_text()
    links = set(re.findall(r'(?:src|href)="(?!data:)([^"]*)"', page))
    assert links == {"overlay.mp4", "report.json", "result.mcap"}
    assert all((out / link).is_file() for link in links)
    assert "http:" not in re.sub(r'"data:[^"]*"', "", page) and "https:" not in re.sub(r'"data:[^"]*"', "", page)
    assert ("Accuracy against ground truth" in page) == (report["accuracy"] is not None)


def test_the_film_plays_in_browsers_and_shows_every_frame(with_truth):
    import av

    with av.open(str(with_truth[1] / "overlay.mp4")) as film:
        stream = film.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.width % 2 == 0 and stream.height % 2 == 0
        assert stream.average_rate == 10
        assert sum(1 for _ in film.decode(video=0)) == 8


def test_the_contact_sheet_has_a_truth_column_only_with_truth(with_truth, without_truth):
    import cv2

    wide = cv2.imread(str(with_truth[1] / "contact_sheet.png"))
    narrow = cv2.imread(str(without_truth[1] / "contact_sheet.png"))
    assert (wide.shape[1], narrow.shape[1]) == (4 * 480 + 3 * GAP, 3 * 480 + 2 * GAP)
    assert wide.shape[0] > BAR


def test_photographs_of_different_sizes_make_one_film(tmp_path):
    import av

    frames = recorded(2, is_truth_known=False)
    tall = frames[1]
    larger = type(tall)(
        tall.stamp_ns, np.pad(tall.rgb, ((0, 21), (0, 0), (0, 0))), np.pad(tall.labels, ((0, 21), (0, 0))), {}
    )
    _, out = make(tmp_path, [frames[0], larger])
    with av.open(str(out / "overlay.mp4")) as film:
        assert film.streams.video[0].average_rate == 0.5
        assert sum(1 for _ in film.decode(video=0)) == 2


def test_a_run_without_any_answer_still_has_a_report(tmp_path):
    from c2f_ros.bag import ResultWriter

    write_bag(tmp_path / "bag", recorded(), BagOptions())
    with BagReader(tmp_path / "bag") as reader:
        topics = find_topics(reader.topic_types)
    with ResultWriter(tmp_path / "out" / "result.mcap"):
        pass
    run = Run("live", "toy", "fake", "anything", FrameCounts(FRAMES, 0, 0, 0, 0, 0, 0, 0, FRAMES), {})
    report = write_report(tmp_path / "out", tmp_path / "bag", topics, run)
    assert report["frames"]["lost"] == FRAMES and report["tracks"] == {}
    assert report["files"]["film"] is None and not (tmp_path / "out" / "overlay.mp4").exists()
    assert "overlay.mp4" not in (tmp_path / "out" / "report.html").read_text()


def test_the_text_names_every_method_and_the_frames(with_truth):
    text = "\n".join(report_lines(with_truth[0]))
    for words in ("visible mask", "convex hull", "hull clipped to others", "ours (toy)", "8 inferred", "0 lost"):
        assert words in text


def test_the_region_of_interest_holds_every_mask():
    frames = [truth_frame(frame, None) for frame in recorded()]
    box = region_of_interest(frames, HEIGHT, WIDTH)
    for frame in frames:
        for item in frame.instances:
            assert item.amodal.box.intersect(box) == item.amodal.box
    assert box.clip(HEIGHT, WIDTH) == box
    whole = region_of_interest([], HEIGHT, WIDTH)
    assert whole.width >= WIDTH / 2 and whole.height >= HEIGHT / 2
