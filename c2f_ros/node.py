"""The lifecycle node: subscribes, runs the eight steps, publishes. Thin: every step is in its own file.

Callbacks (one thread) read, pair, give ids and observe; one worker thread infers the newest frame and publishes.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy._rclpy_pybind11 import RCLError
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, State, TransitionCallbackReturn
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CompressedImage, Image

from c2f_ros.approximate_pairing import ApproximatePairing
from c2f_ros.contract import EngineError, InputError
from c2f_ros.crops import to_rgb
from c2f_ros.lifecycle_guard import guarded
from c2f_ros.mailbox import Worker
from c2f_ros.msg import AmodalInstanceArray, InstanceArray
from c2f_ros.node_parameters import NodeParameters
from c2f_ros.overlay import draw_overlay
from c2f_ros.parameters import Parameters
from c2f_ros.pipeline import Pipeline, open_pipeline
from c2f_ros.records import AmodalFrame, Frame, ObservedFrame, PairedFrame
from c2f_ros.ros_messages import RclpyTypes, diagnostics_message, image_message
from c2f_ros.spinning import spin
from c2f_ros.statistics import Health
from c2f_ros.steps.step1_read import read_compressed_image, read_image, read_instance_array, read_label_image
from c2f_ros.steps.step2_pairing import StampPairing
from c2f_ros.steps.step6_engine import engine_line, engine_values
from c2f_ros.steps.step8_publish import to_message

THROTTLE_S = 5.0
STOP_TIMEOUT_S = 30.0


class AmodalNode(LifecycleNode):
    """Unconfigured: parameters only. Inactive: model loaded and proven on its golden sample. Active: subscribed."""

    def __init__(self, **options: Any) -> None:
        super().__init__("c2f", **options)
        self._declared = NodeParameters(self)
        self._settings: Parameters | None = None
        self._pipeline: Pipeline | None = None
        self._pairing: StampPairing | ApproximatePairing | None = None
        self._worker: Worker[ObservedFrame] | None = None
        self._subscribed: list[Any] = []
        self._publishers_made: list[Any] = []
        self._timer: Any = None
        self._health = Health()
        self._active_since_s = 0.0
        self._resets_seen = 0

    # ---- lifecycle

    @guarded(TransitionCallbackReturn.FAILURE)
    def on_configure(self, state: State) -> TransitionCallbackReturn:
        """Read parameters, load the model, check its golden sample, create publishers. Fails to unconfigured."""
        settings = self._settings = self._declared.read()
        self._pipeline = open_pipeline(settings)
        self._pairing = make_pairing(settings)
        self._health, self._resets_seen = Health(), 0
        self._result = self.create_lifecycle_publisher(AmodalInstanceArray, "~/output/instances", 10)
        self._overlay = self.create_lifecycle_publisher(Image, "~/debug/overlay", 2)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._publishers_made = [self._result, self._overlay, self._diagnostics]
        running = engine_line(self._pipeline.engine)
        self.get_logger().info(f"configured: model {self._pipeline.manifest.model_id} on {running}")
        return TransitionCallbackReturn.SUCCESS

    @guarded(TransitionCallbackReturn.ERROR)
    def on_activate(self, state: State) -> TransitionCallbackReturn:
        """Forget earlier recordings, start the worker, subscribe."""
        assert self._pipeline is not None and self._pairing is not None and self._settings is not None
        super().on_activate(state)
        self._pipeline.reset("activated again")
        self._pairing.reset()
        self._active_since_s = time.monotonic()
        self._worker = Worker(self._infer, self._on_worker_error)
        self._subscribe(self._settings)
        self._timer = self.create_timer(self._settings.diagnostics_period_s, self._publish_diagnostics)
        self.get_logger().info(f"active: waiting for {', '.join(s.topic_name for s in self._subscribed)}")
        return TransitionCallbackReturn.SUCCESS

    @guarded(TransitionCallbackReturn.ERROR)
    def on_deactivate(self, state: State) -> TransitionCallbackReturn:
        """Unsubscribe, let the worker finish its frame, stop it."""
        self._stop()
        super().on_deactivate(state)
        self.get_logger().info("inactive")
        return TransitionCallbackReturn.SUCCESS

    @guarded(TransitionCallbackReturn.ERROR)
    def on_cleanup(self, state: State) -> TransitionCallbackReturn:
        """Give the engine and the publishers back; the node can be configured again."""
        self.release()
        return TransitionCallbackReturn.SUCCESS

    @guarded(TransitionCallbackReturn.SUCCESS)
    def on_shutdown(self, state: State) -> TransitionCallbackReturn:
        """Give everything back, from whatever state."""
        self.release()
        return TransitionCallbackReturn.SUCCESS

    @guarded(TransitionCallbackReturn.SUCCESS)
    def on_error(self, state: State) -> TransitionCallbackReturn:
        """After a failed transition: give everything back and be unconfigured, ready to be configured again."""
        self.release()
        return TransitionCallbackReturn.SUCCESS

    def release(self) -> None:
        """Stop and drop whatever exists. Safe in any state."""
        self._stop()
        for publisher in self._publishers_made:
            self.destroy_publisher(publisher)
        self._publishers_made = []
        if self._pipeline is not None:
            self._pipeline.close()
        self._pipeline, self._pairing = None, None

    def _stop(self) -> None:
        for subscription in self._subscribed:
            self.destroy_subscription(subscription)
        self._subscribed = []
        if self._timer is not None:
            self.destroy_timer(self._timer)
            self._timer = None
        if self._worker is not None:
            is_ended, is_left = self._worker.stop(STOP_TIMEOUT_S)
            self._worker = None
            self._health.counts.discarded += is_left
            if not is_ended:
                raise RuntimeError(f"the engine has not returned within {STOP_TIMEOUT_S:.0f} s; restart the node")

    # ---- steps 1 to 4, in the executor's thread

    def _subscribe(self, settings: Parameters) -> None:
        if settings.input_image_transport == "raw":
            self._add_subscription(Image, "~/input/image", self._on_image)
        else:
            self._add_subscription(CompressedImage, "~/input/image/compressed", self._on_compressed_image)
        if settings.input_kind == "masks":
            self._add_subscription(Image, "~/input/masks", self._on_label_image)
        else:
            self._add_subscription(InstanceArray, "~/input/instances", self._on_instance_array)

    def _add_subscription(self, kind: Any, topic: str, callback: Callable[[Any], None]) -> None:
        """Best effort, unless `qos_overrides.<topic>.subscription.*` says otherwise (rclpy writes into the profile)."""
        qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
        overridable = QoSOverridingOptions.with_default_policies()
        self._subscribed.append(
            self.create_subscription(kind, topic, callback, qos, qos_overriding_options=overridable)
        )

    def _on_image(self, message: Image) -> None:
        self._on_frame(message, read_image)

    def _on_compressed_image(self, message: CompressedImage) -> None:
        self._on_frame(message, read_compressed_image)

    def _on_frame(self, message: Any, read: Callable[[Any, float], Frame]) -> None:
        received_s = time.monotonic()
        self._health.counts.images += 1
        self._health.last_image_s = received_s
        pairing = self._pairing
        assert pairing is not None
        self._advance(lambda: pairing.add_frame(read(message, received_s), message.header))

    def _on_label_image(self, message: Image) -> None:
        self._on_masks(message, read_label_image)

    def _on_instance_array(self, message: InstanceArray) -> None:
        self._on_masks(message, read_instance_array)

    def _on_masks(self, message: Any, read: Callable[[Any], Any]) -> None:
        self._health.counts.masks += 1
        self._health.last_masks_s = time.monotonic()
        pairing = self._pairing
        assert pairing is not None
        self._advance(lambda: pairing.add_instances(read(message), message.header))

    def _advance(self, add: Callable[[], PairedFrame | None]) -> None:
        """Read and pair one message; observe and hand over the pair it completes. Nothing escapes."""
        assert self._pipeline is not None
        start = time.perf_counter()
        try:
            paired = add()
            self._pipeline.latency.add("read_and_pair", (time.perf_counter() - start) * 1e3)
            if paired is not None:
                self._observe(paired)
        except InputError as error:
            self._health.counts.refused += 1
            self._complain(str(error))
        except Exception as error:
            self._health.counts.errors += 1
            self._complain(f"{type(error).__name__}: {error}\n{traceback.format_exc()}")

    def _observe(self, paired: PairedFrame) -> None:
        assert self._pairing is not None and self._pipeline is not None and self._worker is not None
        if self._pairing.counts.resets != self._resets_seen:
            self._resets_seen = self._pairing.counts.resets
            self._pipeline.reset("stamps went back")
            self.get_logger().warning("stamps went back: another recording begins, all tracks are forgotten")
        drops = self._drops()
        observed = self._pipeline.observe(paired)
        if self._drops() != drops and self._pipeline.counts is not None:
            self.get_logger().warning(f"{self._pipeline.counts.last_drop}: all tracks are forgotten")
        self._health.counts.skipped += self._worker.submit(observed)

    def _drops(self) -> int:
        """How often the memory of objects was dropped."""
        assert self._pipeline is not None
        counts = self._pipeline.counts
        return 0 if counts is None else counts.memory_drops

    # ---- steps 5 to 8, in the worker's thread

    def _infer(self, observed: ObservedFrame) -> None:
        assert self._pipeline is not None and self._settings is not None
        result = self._pipeline.infer(observed)
        self._health.counts.inferred += 1
        start = time.perf_counter()
        self._result.publish(to_message(result, RclpyTypes, self._settings.output_encoding))
        self._health.counts.published += 1
        self._pipeline.latency.add("publish", (time.perf_counter() - start) * 1e3)
        received_s = observed.tracked.paired.frame.received_s
        self._pipeline.latency.add("image_to_result", (time.monotonic() - received_s) * 1e3)
        if self._overlay.get_subscription_count() > 0:
            self._publish_overlay(observed, result)

    def _publish_overlay(self, observed: ObservedFrame, result: AmodalFrame) -> None:
        frame = observed.tracked.paired.frame
        self._overlay.publish(image_message(frame.header, draw_overlay(to_rgb(frame.pixels, frame.encoding), result)))

    def _on_worker_error(self, error: Exception) -> None:
        if isinstance(error, EngineError):
            self._health.counts.engine_failures += 1
            self._complain(str(error))
        else:
            self._health.counts.errors += 1
            self._complain(f"{type(error).__name__}: {error}\n{''.join(traceback.format_exception(error))}")

    # ---- what people see

    def _complain(self, text: str) -> None:
        self._health.last_fault = text.splitlines()[0]
        self.get_logger().warning(text, throttle_duration_sec=THROTTLE_S)

    def _publish_diagnostics(self) -> None:
        assert self._pipeline is not None and self._pairing is not None and self._settings is not None
        now_s = time.monotonic()
        level, text, values = self._health.verdict(
            now_s, self._settings.diagnostics_stale_s, self._active_since_s, self._pairing.counts
        )
        values |= {**engine_values(self._pipeline.engine), "tracks": str(self._pipeline.tracks)}
        if self._pipeline.counts is not None:
            values |= self._pipeline.counts.values()
        for stage, numbers in self._pipeline.latency.summary().items():
            values[f"{stage}_ms"] = f"median {numbers['median_ms']:.2f}, 95 % {numbers['p95_ms']:.2f}"
        name = f"{self.get_fully_qualified_name().lstrip('/')}: amodal masks"
        stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(
            diagnostics_message(stamp, name, self._pipeline.manifest.model_id, level, text, values)
        )


def make_pairing(settings: Parameters) -> StampPairing | ApproximatePairing:
    """The pairing that `sync.mode` asks for. Raises ContractError if it is not installed."""
    if settings.sync_mode == "exact":
        return StampPairing(settings.sync_buffer, settings.sync_jump_s)
    return ApproximatePairing(settings.sync_buffer, settings.sync_slop_s, settings.sync_jump_s)


def main(arguments: list[str] | None = None) -> int:
    """Run the node until it is stopped. `--autostart` configures and activates it without a lifecycle manager.

    With `--namespaces` one node per namespace, all in this process: a thread each for callbacks and one for inference.
    """
    given = sys.argv if arguments is None else ["c2f-node", *arguments]
    parser = argparse.ArgumentParser(
        prog="c2f-node", description="The c2f_ros lifecycle node; ROS arguments follow --ros-args."
    )
    parser.add_argument("--autostart", action="store_true", help="configure and activate at once; exit 1 if that fails")
    parser.add_argument("--namespaces", nargs="+", metavar="NAME", help="several cameras: a node in each of these")
    options = parser.parse_args(remove_ros_args(given)[1:])
    rclpy.init(args=given)
    nodes = [AmodalNode(namespace=name) for name in options.namespaces or [""]]
    executors = [SingleThreadedExecutor() for _ in nodes]
    for executor, node in zip(executors, nodes, strict=True):
        executor.add_node(node)
    try:
        if options.autostart and not all(autostart(node) for node in nodes):
            return 1
        spin(executors)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except RCLError:
        if rclpy.ok():  # a signal in the middle of a transition makes its context invalid: that is the end, no fault
            raise
    finally:
        for node in nodes:
            node.release()
        for executor in executors:
            executor.shutdown()
        for node in nodes:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


def autostart(node: AmodalNode) -> bool:
    """Configure and activate; False if either is refused (the node has logged why)."""
    steps = (node.trigger_configure, node.trigger_activate)
    return all(step() == TransitionCallbackReturn.SUCCESS for step in steps)


if __name__ == "__main__":
    sys.exit(main())
