"""The node over real DDS, driven as a lifecycle manager, a camera and a segmenter would drive it."""

import array
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from frames import FakeEngine, labels_with

from c2f_ros.records import MaskProbabilities

pytestmark = pytest.mark.ros
TIMEOUT_S = 30.0
RGB = np.random.default_rng(0).integers(0, 255, (48, 80, 3)).astype(np.uint8)
LABELS = labels_with((10, 10, 30, 30), (25, 15, 50, 40))


@pytest.fixture
def ros():
    """rclpy with a context of its own, an executor, and a way to make the node with parameters."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.parameter import Parameter

    from c2f_ros.node import AmodalNode

    context = rclpy.Context()
    rclpy.init(context=context)
    executor = SingleThreadedExecutor(context=context)
    made = []

    def start(**parameters):
        overrides = [Parameter(name.replace("__", "."), value=value) for name, value in parameters.items()]
        node = AmodalNode(context=context, parameter_overrides=overrides)
        executor.add_node(node)
        made.append(node)
        return node

    peer = rclpy.create_node("peer", context=context)
    executor.add_node(peer)
    yield SimpleNamespace(start=start, peer=Peer(peer, executor), executor=executor)
    for node in made:
        node.release()
        node.destroy_node()
    peer.destroy_node()
    executor.shutdown()
    rclpy.shutdown(context=context)


class Peer:
    """Camera, segmenter and listener in one."""

    def __init__(self, node, executor) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.qos import QoSProfile, ReliabilityPolicy
        from sensor_msgs.msg import Image

        from c2f_ros.msg import AmodalInstanceArray

        self.node, self.executor, self.results, self.diagnostics = node, executor, [], []
        reliable = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
        self.images = node.create_publisher(Image, "/c2f/input/image", reliable)
        self.masks = node.create_publisher(Image, "/c2f/input/masks", reliable)
        node.create_subscription(AmodalInstanceArray, "/c2f/output/instances", self.results.append, reliable)
        node.create_subscription(DiagnosticArray, "/diagnostics", self.diagnostics.append, reliable)

    def until(self, holds) -> None:
        """Spin until `holds()`; fails after a timeout."""
        end = time.monotonic() + TIMEOUT_S
        while not holds():
            assert time.monotonic() < end, "what was waited for did not come"
            self.executor.spin_once(timeout_sec=0.05)

    def until_matched(self, node) -> None:
        """Wait until the node's subscriptions are matched and results can come back."""
        publisher = self.node.count_publishers
        self.until(lambda: self.images.get_subscription_count() > 0 and self.masks.get_subscription_count() > 0)
        self.until(lambda: publisher("/c2f/output/instances") > 0 and node._result.get_subscription_count() > 0)

    def send(self, stamp_ns: int, labels=LABELS, encoding="rgb8") -> None:
        self.images.publish(message(RGB, encoding, stamp_ns))
        self.masks.publish(message(labels, "mono8", stamp_ns))

    def last(self) -> dict[str, str]:
        """Key-values of the newest diagnostics, with its `level` and `message`."""
        status = self.diagnostics[-1].status[0]
        return {v.key: v.value for v in status.values} | {"level": str(ord(status.level)), "message": status.message}


def message(pixels, encoding, stamp_ns):
    from sensor_msgs.msg import Image

    out = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, step=pixels.nbytes // pixels.shape[0])
    out.header.frame_id = "camera_optical"
    out.header.stamp.sec, out.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    out.data = array.array("B", pixels.tobytes())
    return out


def activate(node) -> None:
    from rclpy.lifecycle import TransitionCallbackReturn

    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS


def state(node) -> str:
    return node._state_machine.current_state[1]


def stamps(results) -> list[int]:
    return [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in results]


def test_a_pair_gives_one_result_with_the_image_s_header_and_whole_masks(ros):
    node = ros.start()
    activate(node)
    ros.peer.until_matched(node)
    ros.peer.send(3_000_000_001)
    ros.peer.until(lambda: ros.peer.results)
    (result,) = ros.peer.results
    assert stamps([result]) == [3_000_000_001] and result.header.frame_id == "camera_optical"
    assert (result.image_height, result.image_width, result.model_id) == (48, 80, "c2f_nano_video")
    assert [i.track_id for i in result.instances] == ["1", "2"]
    for instance in result.instances:
        assert instance.amodal.roi.width >= instance.visible.roi.width
        assert 0.0 <= instance.occlusion_ratio <= 1.0


def test_while_inactive_no_callback_runs_and_after_activation_all_do(ros):
    node = ros.start()
    activate(node)
    ros.peer.until_matched(node)
    node.trigger_deactivate()
    ros.peer.until(lambda: ros.peer.images.get_subscription_count() == 0)
    images = node._health.counts.images
    ros.peer.send(1)
    for _ in range(20):
        ros.executor.spin_once(timeout_sec=0.01)
    assert node._health.counts.images == images and not ros.peer.results
    node.trigger_activate()
    ros.peer.until_matched(node)
    ros.peer.send(2)
    ros.peer.until(lambda: ros.peer.results)
    assert stamps(ros.peer.results) == [2]


def test_it_can_be_cleaned_up_and_configured_again(ros):
    node = ros.start()
    for stamp in (10, 20):
        activate(node)
        ros.peer.until_matched(node)
        ros.peer.send(stamp)
        ros.peer.until(lambda stamp=stamp: stamp in stamps(ros.peer.results))
        node.trigger_deactivate()
        node.trigger_cleanup()
        assert state(node) == "unconfigured"
        ros.peer.until(lambda: ros.peer.images.get_subscription_count() == 0)


def test_a_model_that_is_not_there_leaves_the_node_unconfigured_and_it_can_try_again(ros, capfd):
    from rclpy.lifecycle import TransitionCallbackReturn
    from rclpy.parameter import Parameter

    node = ros.start(model="no_such_model")
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert state(node) == "unconfigured"
    logged = "".join(capfd.readouterr())
    assert "no_such_model" in logged and "Traceback" in logged
    node.set_parameters([Parameter("model", value="c2f_nano")])
    activate(node)


def test_an_engine_that_raises_in_configure_logs_a_traceback_and_leaves_the_node_unconfigured(ros, capfd, monkeypatch):
    from rclpy.lifecycle import TransitionCallbackReturn

    def broken(*_):
        raise MemoryError("no device memory")

    node = ros.start()
    monkeypatch.setattr("c2f_ros.pipeline.open_engine", broken)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert state(node) == "unconfigured"
    logged = "".join(capfd.readouterr())
    assert "MemoryError: no device memory" in logged and "Traceback" in logged
    monkeypatch.undo()
    activate(node)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("engine_threads", 0, "1 to 64"),
        ("hidden_under", "water", "other_instances"),
        ("engine_treads", 2, "engine_treads"),
    ],
)
def test_a_value_or_a_name_that_is_unknown_refuses_to_configure(ros, capfd, name, value, message):
    from rclpy.lifecycle import TransitionCallbackReturn

    node = ros.start(**{name: value})
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert message in "".join(capfd.readouterr())


def test_a_running_node_refuses_a_wrong_value_with_a_reason(ros):
    from rclpy.parameter import Parameter

    node = ros.start()
    (result,) = node.set_parameters([Parameter("hidden_under", value="water")])
    assert not result.successful and "expected one of anything, other_instances" in result.reason


def test_an_engine_that_fails_costs_its_frame_only_and_diagnostics_says_so(ros):
    node = ros.start(diagnostics__period_s=0.1)
    activate(node)
    ros.peer.until_matched(node)
    real = node._pipeline.engine
    node._pipeline.engine = FakeEngine(lambda b: MaskProbabilities(np.full((2, 64, 64), np.nan, np.float32)))
    ros.peer.send(1)
    ros.peer.until(lambda: any("frames failed" in d.status[0].message for d in ros.peer.diagnostics))
    node._pipeline.engine = real
    ros.peer.send(2)
    ros.peer.until(lambda: ros.peer.results)
    assert stamps(ros.peer.results) == [2]
    assert node._health.counts.engine_failures == 1


def test_the_log_and_diagnostics_say_which_engine_runs_and_why(ros, capfd):
    node = ros.start(diagnostics__period_s=0.1, model="c2f_nano", engine="onnxruntime", engine_cache="unused")
    activate(node)
    assert "threads (named by the parameter engine)" in capfd.readouterr().err
    ros.peer.until(lambda: ros.peer.diagnostics)
    found = ros.peer.last()
    assert found["engine"].startswith("ONNX Runtime") and found["engine"].endswith("(named by the parameter engine)")
    assert (found["engine_precision"], found["engine_device_bytes"]) == ("fp32", "none")


def test_a_message_that_cannot_be_used_is_counted_and_costs_nobody_else_its_data(ros):
    node = ros.start(diagnostics__period_s=0.1)
    activate(node)
    ros.peer.until_matched(node)
    ros.peer.send(1, encoding="bayer_rggb8")
    ros.peer.send(2, labels=np.zeros((10, 10), np.uint8))
    ros.peer.send(3)
    ros.peer.until(lambda: ros.peer.results)
    assert stamps(ros.peer.results) == [3]
    ros.peer.until(lambda: ros.peer.diagnostics and ros.peer.last()["refused"] == "2")
    assert "last_fault" in ros.peer.last()


def test_a_bag_that_loops_starts_new_tracks_and_goes_on(ros):
    node = ros.start()
    activate(node)
    ros.peer.until_matched(node)
    for round_number in range(3):
        for stamp in (0, 1_000_000_000):
            ros.peer.send(stamp)
            count = 2 * round_number + (stamp > 0) + 1
            ros.peer.until(lambda count=count: len(ros.peer.results) == count)
    assert node._pairing.counts.resets == 2


def test_every_frame_is_inferred_or_counted_as_skipped_when_the_engine_is_slow(ros):
    import threading

    node = ros.start()
    activate(node)
    ros.peer.until_matched(node)
    gate = threading.Event()

    def slow(batch):
        assert gate.wait(TIMEOUT_S)
        return MaskProbabilities(np.ones((len(batch.image), 64, 64), np.float32))

    node._pipeline.engine = FakeEngine(slow)
    for stamp in range(1, 11):
        ros.peer.send(stamp)
        ros.peer.until(lambda stamp=stamp: node._pairing.counts.paired == stamp)
    gate.set()
    ros.peer.until(lambda: stamps(ros.peer.results)[-1:] == [10])
    counts = node._health.counts
    assert counts.inferred + counts.skipped == 10 and counts.skipped >= 7
    assert counts.published == len(ros.peer.results) == counts.inferred


def test_the_overlay_is_drawn_only_while_somebody_looks(ros, monkeypatch):
    from sensor_msgs.msg import Image

    import c2f_ros.node

    drawn, draw = [], c2f_ros.node.draw_overlay
    monkeypatch.setattr(c2f_ros.node, "draw_overlay", lambda *a: drawn.append(1) or draw(*a))
    node = ros.start()
    activate(node)
    ros.peer.until_matched(node)
    ros.peer.send(1)
    ros.peer.until(lambda: len(ros.peer.results) == 1)
    assert not drawn
    seen = []
    ros.peer.node.create_subscription(Image, "/c2f/debug/overlay", seen.append, 5)
    ros.peer.until(lambda: node._overlay.get_subscription_count() > 0)
    ros.peer.send(2)
    ros.peer.until(lambda: seen)
    assert (seen[0].height, seen[0].width, seen[0].encoding) == (48, 80, "rgb8")


def test_image_qos_is_best_effort_and_can_be_overridden(ros):
    from rclpy.qos import ReliabilityPolicy

    node = ros.start(**{"qos_overrides./c2f/input/image.subscription.reliability": "reliable"})
    activate(node)
    found = {s.topic_name: s.qos_profile.reliability for s in node._subscribed}
    assert found["/c2f/input/image"] == ReliabilityPolicy.RELIABLE
    assert found["/c2f/input/masks"] == ReliabilityPolicy.BEST_EFFORT


def test_approximate_pairing_without_message_filters_refuses_to_configure(ros, capfd, monkeypatch):
    from rclpy.lifecycle import TransitionCallbackReturn

    monkeypatch.setattr("c2f_ros.approximate_pairing.importlib.util.find_spec", lambda name: None)
    node = ros.start(sync__mode="approximate")
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert "message_filters is not installed" in "".join(capfd.readouterr())


def test_an_exception_in_activate_is_logged_and_the_node_can_be_configured_again(ros, capfd, monkeypatch):
    from rclpy.lifecycle import TransitionCallbackReturn

    def broken(*_):
        raise OSError("no threads left")

    node = ros.start()
    monkeypatch.setattr("c2f_ros.node.Worker", broken)
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_activate() == TransitionCallbackReturn.ERROR
    assert state(node) == "unconfigured"
    logged = "".join(capfd.readouterr())
    assert "on_activate failed: OSError: no threads left" in logged and "Traceback" in logged
    monkeypatch.undo()
    activate(node)
    ros.peer.until_matched(node)
    ros.peer.send(5)
    ros.peer.until(lambda: stamps(ros.peer.results) == [5])


def test_an_object_that_upstream_no_longer_sends_is_published_as_invisible_until_a_gap(ros, tmp_path, capfd):
    """A streaming model in the real node: hidden objects, their diagnostics, and memory that is dropped aloud."""
    pytest.importorskip("onnx", reason="toy models are made with onnx, which comes with the training package")
    from toy_bundles import stream_bundle

    from c2f_ros.records import Status

    model = str(stream_bundle(tmp_path / "m").folder)
    node = ros.start(model=model, diagnostics__period_s=0.1, max_objects=4)
    activate(node)
    ros.peer.until_matched(node)

    def answer(stamp_ns: int, labels) -> list[tuple[str, int, int]]:
        ros.peer.send(stamp_ns, labels)
        ros.peer.until(lambda: stamp_ns in stamps(ros.peer.results))
        return [(i.track_id, i.status, i.frames_used) for i in ros.peer.results[-1].instances]

    first, step_ns = 5_000_000_000, 50_000_000
    for k in range(3):
        assert answer(first + k * step_ns, LABELS)[0][0] == "1"
    one = np.where(LABELS == 2, LABELS, 0).astype(np.uint8)
    assert answer(first + 3 * step_ns, one) == [("2", Status.OK, 4), ("1", Status.INVISIBLE, 4)]
    hidden = ros.peer.results[-1].instances[1]
    assert hidden.visible.roi.width == 0 and hidden.amodal.roi.width > 0 and 0.9 < hidden.score < 1.0
    ros.peer.until(lambda: ros.peer.diagnostics and ros.peer.last().get("hidden_tracks") == "1")
    assert answer(first + 10_000_000_000, one) == [("2", Status.SHORT_WINDOW, 1)]
    ros.peer.until(lambda: ros.peer.last()["memory_drops"] == "1")
    assert ros.peer.last()["state_bytes"].endswith(f" of {8 * node._pipeline.manifest.temporal.state_bytes}")
    assert "no frame came for" in "".join(capfd.readouterr())


@pytest.mark.slow
def test_several_cameras_in_one_process_have_a_node_each():
    """They configure, become active and end together; one that is interrupted leaves nothing behind."""
    words = ["-m", "c2f_ros.node", "--autostart", "--namespaces", "left", "right"]
    words += ["--ros-args", "-p", "engine:=onnxruntime", "-p", "model:=c2f_nano"]
    process = subprocess.Popen([sys.executable, *words], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process:
        try:
            active = []
            for line in process.stderr:
                active += [name for name in ("left", "right") if f"[{name}.c2f]: active" in line]
                if len(active) == 2:
                    break
            assert sorted(active) == ["left", "right"]
        finally:
            process.send_signal(signal.SIGINT)
        process.stderr.read()
    assert process.returncode == 0
