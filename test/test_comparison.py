"""Two models on one bag: documented keys, one page and one film, numbers that are those of the two reports."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from recordings import FRAMES, recorded
from toy_bundles import stream_bundle, toy_bundle

from c2f_ros import comparison as comparison_module
from c2f_ros.bag_making import BagOptions, write_bag
from c2f_ros.comparison import Agreement, Pair
from c2f_ros.comparison_page import comparison_rows
from c2f_ros.comparison_plots import chosen_tracks
from c2f_ros.geometry import place
from c2f_ros.replay_cli import main
from c2f_ros.truth import truth_frame


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model that answers with what it is shown, and one that also remembers what it was shown."""
    folder = tmp_path_factory.mktemp("models")
    return [toy_bundle(folder / "image", "square", None, [1.0]).folder, stream_bundle(folder / "stream").folder]


def compare(tmp_path, models, frames):
    write_bag(tmp_path / "bag", frames, BagOptions())
    assert main(["--compare", *map(str, models), str(tmp_path / "bag"), "--out", str(tmp_path / "out")]) == 0
    return json.loads((tmp_path / "out" / "compare.json").read_text()), tmp_path / "out"


@pytest.fixture(scope="module")
def with_truth(tmp_path_factory, models):
    frames = recorded(6)  # their pixels are noise, new in every frame; here nothing seems to move
    return compare(tmp_path_factory.mktemp("with"), models, [replace(f, rgb=frames[0].rgb) for f in frames])


@pytest.fixture(scope="module")
def without_truth(tmp_path_factory, models):
    return compare(tmp_path_factory.mktemp("without"), models, recorded(is_truth_known=False))


def documented(key: str | None = None) -> set[str]:
    """The keys of the docstring's table, or those named in the row of one key."""
    rows = [line.split("|") for line in comparison_module.__doc__.splitlines() if line.startswith("| `")]
    if key is None:
        return {name for row in rows for name in re.findall(r"`(\w+)`", row[1])}
    return set(re.findall(r"`(\w+)`", next(row[2] for row in rows if f"`{key}`" in row[1])))


@pytest.mark.parametrize("which", ["with_truth", "without_truth"])
def test_keys_written_are_the_keys_documented(which, request):
    found, _ = request.getfixturevalue(which)
    assert set(found) == documented()
    assert set(found["agreement"]) == documented("agreement") and set(found["files"]) == documented("files")
    for track in found["tracks"].values():
        assert set(track) == documented("tracks") - (set() if which == "with_truth" else {"iou"})


def test_the_numbers_are_those_of_each_model_s_own_report(with_truth):
    found, out = with_truth
    for side, model in zip("ab", found["models"], strict=True):
        report = json.loads((out / side / "report.json").read_text())
        assert model == {k: v for k, v in report.items() if k not in ("tracks", "by_occlusion")}
    rows = {name: (a, b) for name, a, b in comparison_rows(found)}
    numbers = [model["accuracy"]["model"]["miou_full"] for model in found["models"]]
    assert rows["whole mask, mean IoU"] == tuple(numbers)


def test_every_object_has_both_models_iou_over_time(with_truth):
    found, _ = with_truth
    assert set(found["tracks"]) == {"1", "2"} and len(found["mean_iou"]) == 6
    for track in found["tracks"].values():
        assert len(track["frame"]) == len(track["agreement"]) == len(track["iou"][0]) == len(track["iou"][1])


def test_an_object_hidden_wholly_counts_for_the_model_that_remembers_it_alone(with_truth):
    found, _ = with_truth
    track = found["tracks"]["2"]
    hidden = track["occlusion"].index(1.0)
    assert track["frame"][hidden] == 2 and track["agreement"][hidden] is None
    assert track["iou"][0][hidden] == 0.0 and track["iou"][1][hidden] > 0.5
    assert found["agreement"]["only"] == [0, 1]
    rows = {name: (a, b) for name, a, b in comparison_rows(found)}
    assert rows["whole mask, objects hidden wholly"][0] == 0.0
    assert rows["whole mask, objects hidden wholly"][1] == pytest.approx(100 * track["iou"][1][hidden], abs=0.01)
    assert rows["of these with nothing visible"] == (0, 1)


@pytest.mark.parametrize(("which", "frames", "panels"), [("with_truth", 6, (2, 2)), ("without_truth", FRAMES, (1, 3))])
def test_the_film_shows_both_models_and_the_truth_where_it_is_known(which, frames, panels, request):
    import av

    from c2f_ros.pictures import GAP

    _, out = request.getfixturevalue(which)
    with av.open(str(out / "compare.mp4")) as film:
        stream = film.streams.video[0]
        pictures = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(pictures) == frames
    width = 60 * 4  # the image's columns, enlarged as far as it goes
    assert abs(stream.width - (panels[1] * (width + GAP) - GAP)) <= 1
    top, left = pictures[0].shape[0] // panels[0], pictures[0].shape[1] // panels[1]
    parts = [pictures[0][r * top : (r + 1) * top, c * left : (c + 1) * left] for r, c in np.ndindex(*panels)]
    assert len(parts) == panels[0] * panels[1] and all(part.std() > 5 for part in parts)


@pytest.mark.parametrize("which", ["with_truth", "without_truth"])
def test_the_page_holds_everything_but_the_film_and_the_reports(which, request):
    found, out = request.getfixturevalue(which)
    page = (out / "compare.html").read_text()
    links = set(re.findall(r'(?:src|href)="(?!data:)([^"]*)"', page))
    assert links == {"compare.mp4", "compare.json", "a/report.html", "b/report.html"}
    assert all((out / link).is_file() for link in links)
    assert ("Mean IoU over time" in page) == bool(found["mean_iou"])


def test_without_truth_only_the_difference_is_told(without_truth):
    found, out = without_truth
    assert found["mean_iou"] == [] and all("iou" not in track for track in found["tracks"].values())
    assert found["agreement"]["object_frames"] == 5 and found["agreement"]["only"] == [0, 1]
    assert not any("IoU" in name for name, _, _ in comparison_rows(found))
    assert chosen_tracks(found["tracks"])[0] in found["tracks"]


def test_a_model_agrees_with_itself_and_its_names_are_told_apart(tmp_path, models):
    found, _ = compare(tmp_path, [models[0], models[0]], recorded())
    assert found["labels"] == ["toy (a)", "toy (b)"]
    assert (found["agreement"]["full"], found["agreement"]["only"]) == (100.0, [0, 0])
    for track in found["tracks"].values():
        assert set(track["agreement"]) == {1.0} and track["iou"][0] == track["iou"][1]


def test_an_object_that_one_model_alone_answers_is_counted_apart():
    front, back = truth_frame(recorded()[0], None).instances
    agreement = Agreement()
    assert agreement.add(Pair("1", front, front, None)) == 1.0
    assert agreement.add(Pair("2", back, None, None)) is None
    assert agreement.add(Pair("2", None, back, None)) is None
    assert agreement.add(Pair("2", None, back, None)) is None
    assert (agreement.full.count, agreement.only) == (1, [1, 2])


def test_an_object_counts_as_hidden_by_its_true_mask_where_that_is_known():
    import dataclasses

    whole, seen = np.zeros((36, 60), bool), np.zeros((36, 60), bool)
    whole[:10, :10], seen[:10, :5] = True, True
    item = dataclasses.replace(truth_frame(recorded()[0], None).instances[0], amodal=place(seen), occlusion_ratio=0.0)
    true = dataclasses.replace(item, visible=place(seen), amodal=place(whole))
    assert Pair("1", item, item, true).occlusion == 0.5 and Pair("1", item, item, None).occlusion == 0.0


def test_a_model_that_is_not_there_is_refused_before_anything_runs(tmp_path, models, capsys):
    write_bag(tmp_path / "bag", recorded(), BagOptions())
    call = ["--compare", str(models[0]), str(tmp_path / "nothing"), str(tmp_path / "bag"), "--out", str(tmp_path / "o")]
    assert main(call) == 1
    assert "nothing" in capsys.readouterr().err and not (tmp_path / "o").exists()
