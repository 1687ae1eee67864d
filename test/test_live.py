"""Live replay: node, player and recorder are processes of their own and meet over DDS; nothing is faked."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from recordings import recorded

from c2f_ros.bag import COMPRESSED_TOPIC, COMPRESSED_TYPE, RESULT_TOPIC, BagReader, BagTopics, find_topics
from c2f_ros.bag_making import BagOptions, write_bag
from c2f_ros.bundle import find_model
from c2f_ros.contract import ContractError
from c2f_ros.live import LiveError, count_frames, node_command, read_latency, replay_live
from c2f_ros.replay_cli import main

IMAGE, ARRAY = "sensor_msgs/msg/Image", "c2f_ros/msg/InstanceArray"
FRAMES = 12


# ---- without ROS


def test_the_node_is_started_with_the_bag_s_topics_and_reliable_inputs():
    command = node_command(BagTopics("/left", IMAGE, "/seg", IMAGE, ""), {"model": "m"})
    assert command[-4:] == ["-r", "~/input/image:=/left", "-r", "~/input/masks:=/seg"]
    assert {"model:=m", "input.kind:=masks", "input.image_transport:=raw"} <= set(command)
    assert {f"qos_overrides.{t}.subscription.reliability:=reliable" for t in ("/left", "/seg")} <= set(command)


def test_compressed_images_and_instances_choose_the_node_s_inputs():
    command = node_command(BagTopics(COMPRESSED_TOPIC, COMPRESSED_TYPE, "/seg", ARRAY, ""), {})
    assert {"input.kind:=instances", "input.image_transport:=compressed"} <= set(command)
    assert f"~/input/image/compressed:={COMPRESSED_TOPIC}" in command and "~/input/instances:=/seg" in command


@pytest.mark.parametrize(
    ("answered", "unpaired", "diagnostics", "expected"),
    [
        (10, 0, {"masks": "10", "paired": "10"}, {"inferred": 10, "lost": 0}),
        (7, 0, {"masks": "10", "paired": "10", "skipped": "3"}, {"skipped": 3, "lost": 0}),
        (7, 1, {"masks": "10", "paired": "9", "engine_failures": "2"}, {"failed": 2, "unpaired": 1, "lost": 0}),
        (7, 0, {"masks": "8", "paired": "7", "refused": "1"}, {"refused": 1, "lost": 2}),
        (0, 0, {}, {"seen": 0, "lost": 10}),
        (9, 0, {"masks": "10", "paired": "10", "refused": "5"}, {"refused": 1, "lost": 0}),
    ],
)
def test_every_frame_of_the_bag_is_accounted_for(answered, unpaired, diagnostics, expected):
    counts = count_frames(10, unpaired, answered, diagnostics)
    assert {key: getattr(counts, key) for key in expected} == expected


def test_latency_is_read_from_diagnostics():
    values = {"engine_ms": "median 12.50, 95 % 20.00", "engine": "fake", "images_per_s": "10.0"}
    assert read_latency(values) == {"engine": {"median_ms": 12.5, "p95_ms": 20.0}}


# ---- over DDS


@pytest.fixture
def model():
    """The shipped model's name."""
    try:
        find_model("c2f_nano")
    except ContractError:
        pytest.skip("models/c2f_nano is not there")
    return "c2f_nano"


def results_of(path):
    with BagReader(path) as reader:
        return {frame.stamp_ns: frame for frame in reader.amodal_frames(RESULT_TOPIC)}


@pytest.mark.ros
@pytest.mark.slow
@pytest.mark.parametrize("options", [BagOptions(), BagOptions(image="png", as_instances=True)])
def test_live_gives_offline_s_masks_and_accounts_for_every_frame(options, model, tmp_path):
    write_bag(tmp_path / "bag", recorded(FRAMES), options)
    call = [str(tmp_path / "bag"), "--model", model, "--hidden-under", "other_instances"]
    assert main([*call, "--out", str(tmp_path / "offline")]) == 0
    assert main([*call, "--out", str(tmp_path / "live"), "--live"]) == 0
    report = json.loads((tmp_path / "live" / "report.json").read_text())
    frames = report["frames"]
    assert report["mode"] == "live"
    assert (frames["in_bag"], frames["seen"], frames["paired"], frames["lost"]) == (FRAMES, FRAMES, FRAMES, 0)
    assert frames["inferred"] + frames["skipped"] == FRAMES and frames["inferred"] > 0
    assert {"engine", "image_to_result"} <= report["latency_ms"].keys()
    offline, live = results_of(tmp_path / "offline" / "result.mcap"), results_of(tmp_path / "live" / "result.mcap")
    assert len(offline) == FRAMES and len(live) == frames["inferred"]
    assert max(live) == max(offline)
    for stamp, frame in live.items():
        assert frame.model_id == model and frame.header.frame_id == "camera"
        for a, b in zip(frame.instances, offline[stamp].instances, strict=True):
            assert (a.track_id, a.amodal.box, a.occluded_by) == (b.track_id, b.amodal.box, b.occluded_by)
            np.testing.assert_array_equal(a.amodal.mask, b.amodal.mask)


@pytest.mark.ros
@pytest.mark.slow
def test_frames_that_come_too_fast_are_skipped_and_counted(model, tmp_path):
    write_bag(tmp_path / "bag", recorded(40), BagOptions())
    call = [str(tmp_path / "bag"), "--model", model, "--out", str(tmp_path / "live"), "--live", "--rate", "1000"]
    assert main(call) == 0
    frames = json.loads((tmp_path / "live" / "report.json").read_text())["frames"]
    assert frames["skipped"] > 0 and frames["lost"] == 0
    assert frames["inferred"] + frames["skipped"] == frames["in_bag"] == 40


@pytest.mark.ros
@pytest.mark.slow
def test_a_node_that_cannot_start_is_said_in_one_sentence(tmp_path):
    write_bag(tmp_path / "bag", recorded(), BagOptions())
    with BagReader(tmp_path / "bag") as reader:
        topics = find_topics(reader.topic_types)
    with pytest.raises(LiveError, match=r"the node ended with status 1: .*nowhere") as failed:
        replay_live(tmp_path / "bag", topics, {"model": "nowhere"}, "anything", tmp_path / "r.mcap", 1.0)
    assert "\n" not in str(failed.value) and str(tmp_path / "node.log") in str(failed.value)


@pytest.mark.ros
@pytest.mark.slow
def test_the_recorder_brings_an_unconfigured_node_up(model, tmp_path):
    write_bag(tmp_path / "bag", recorded(FRAMES), BagOptions())
    remaps = ["-r", "~/input/image:=/camera/image", "-r", "~/input/masks:=/segmenter/masks"]
    python = [sys.executable, "-m"]
    node = subprocess.Popen([*python, "c2f_ros.node", "--ros-args", "-p", "diagnostics.period_s:=0.2", *remaps])
    recorder = subprocess.Popen(
        [*python, "c2f_ros.recorder", str(tmp_path / "bag"), "--out", str(tmp_path / "result.mcap")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert recorder.stdout.readline() == "ready\n"
        subprocess.run([*python, "c2f_ros.player", str(tmp_path / "bag")], check=True, timeout=60, env=os.environ)
        said, _ = recorder.communicate(timeout=60)
    finally:
        recorder.kill()
        node.send_signal(signal.SIGTERM)
        node.wait(30)
    summary = json.loads(said)
    diagnostics = summary["diagnostics"]
    assert recorder.returncode == 0
    assert int(diagnostics["published"]) == summary["answered"] == len(results_of(tmp_path / "result.mcap"))
    assert int(diagnostics["inferred"]) + int(diagnostics["skipped"]) == int(diagnostics["paired"])


@pytest.mark.ros
@pytest.mark.slow
def test_a_player_without_subscribers_gives_up_in_one_sentence(tmp_path):
    write_bag(tmp_path / "bag", recorded(), BagOptions())
    command = [sys.executable, "-m", "c2f_ros.player", str(tmp_path / "bag"), "--wait", "0.5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "error: nobody has subscribed to /camera/image, /segmenter/masks" in done.stderr
