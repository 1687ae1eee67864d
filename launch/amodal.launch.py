"""`ros2 launch c2f_ros amodal.launch.py`: starts the amodal mask node and takes it to the active state.

A transition that fails is an error line in launch's own output, in one sentence, besides the node's own message.
`ros2 launch c2f_ros amodal.launch.py --show-args` lists the arguments.
"""

from __future__ import annotations

from pathlib import Path

import launch.logging
from launch import Event, LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, EmitEvent, OpaqueFunction, RegisterEventHandler
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessStart
from launch.events import matches_action
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState, StateTransition
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare
from lifecycle_msgs.msg import Transition

# (state before, state after) of the transitions that failed: what that means, and the command that tries again.
FAILED_TRANSITIONS = {
    ("configuring", "unconfigured"): ("did not configure", "configure"),
    ("configuring", "errorprocessing"): ("did not configure", "configure"),
    ("activating", "inactive"): ("did not activate", "activate"),
    ("activating", "errorprocessing"): ("did not activate", "configure"),
    ("deactivating", "errorprocessing"): ("did not deactivate", "configure"),
    ("cleaningup", "errorprocessing"): ("did not clean up", "configure"),
}
# Below our own messages, `debug` would bury them under one line per DDS endpoint.
CHATTY_LOGGERS = ("rcl", "rmw_fastrtps_cpp")


def generate_launch_description() -> LaunchDescription:
    """The arguments, and the node that they describe."""
    default_parameters = PathJoinSubstitution([FindPackageShare("c2f_ros"), "config", "c2f.yaml"])
    arguments = [
        DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node c2f."),
        DeclareLaunchArgument("params_file", default_value=default_parameters, description="The node's parameters."),
        DeclareLaunchArgument(
            "model", default_value="", description="Model by name or folder; empty: the one that params_file names."
        ),
        DeclareLaunchArgument("image", default_value="/camera/image_raw", description="Topic of the camera's images."),
        DeclareLaunchArgument(
            "masks", default_value="/camera/masks", description="Topic of visible masks as a label image."
        ),
        DeclareLaunchArgument(
            "instances", default_value="", description="Topic of visible masks as InstanceArray; if given, not `masks`."
        ),
        DeclareLaunchArgument(
            "autostart", default_value="true", description="Whether to configure and activate the node."
        ),
        DeclareLaunchArgument(
            "log_level",
            default_value="info",
            choices=["debug", "info", "warn", "error", "fatal"],
            description="What the node logs.",
        ),
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start_node)])


def start_node(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The node as the arguments' values describe it, after the handlers that watch its states."""
    value = context.launch_configurations
    if not Path(value["params_file"]).is_file():
        raise RuntimeError(f"params_file is {value['params_file']!r}, which is no file; give a parameter file's path")
    kind = "instances" if value["instances"] else "masks"
    parameters = {"input.kind": kind}
    if value["model"]:
        parameters["model"] = value["model"]
    node = LifecycleNode(
        package="c2f_ros",
        executable="c2f_node",
        name="c2f",
        namespace=value["namespace"],
        parameters=[
            value["params_file"],
            {name: ParameterValue(text, value_type=str) for name, text in parameters.items()},
        ],
        remappings=[
            ("~/input/image", value["image"]),
            ("~/input/image/compressed", f"{value['image']}/compressed"),
            (f"~/input/{kind}", value[kind]),
        ],
        ros_arguments=log_arguments(value["log_level"]),
        output="screen",
    )
    return [*autostart(node), report_failed_transitions(node), node]


def log_arguments(level: str) -> list[str]:
    """The ROS arguments that make the node log from `level` on."""
    levels = [level]
    if level == "debug":
        levels += [f"{logger}:=info" for logger in CHATTY_LOGGERS]
    return [argument for level in levels for argument in ("--log-level", level)]


def autostart(node: LifecycleNode) -> list[LaunchDescriptionEntity]:
    """Handlers that configure the node when its process starts, and activate it when it is configured."""
    requested = IfCondition(LaunchConfiguration("autostart"))
    started = OnProcessStart(target_action=node, on_start=[request(node, Transition.TRANSITION_CONFIGURE)])
    configured = OnStateTransition(
        target_lifecycle_node=node,
        start_state="configuring",
        goal_state="inactive",
        entities=[request(node, Transition.TRANSITION_ACTIVATE)],
    )
    return [RegisterEventHandler(handler, condition=requested) for handler in (started, configured)]


def request(node: LifecycleNode, transition: int) -> EmitEvent:
    """The request to the node to make a transition."""
    return EmitEvent(event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition))


def report_failed_transitions(node: LifecycleNode) -> RegisterEventHandler:
    """A handler that logs an error when a transition of the node fails."""

    def has_failed(event: Event) -> bool:
        if not isinstance(event, StateTransition) or event.action is not node:
            return False
        return (event.start_state, event.goal_state) in FAILED_TRANSITIONS

    def report(context: LaunchContext) -> None:
        event = context.locals.event
        failure, retry = FAILED_TRANSITIONS[event.start_state, event.goal_state]
        launch.logging.get_logger("amodal.launch").error(
            f"{node.node_name} {failure} ({event.start_state} -> {event.goal_state}): its own message says why; "
            f"mend that, then start again or run `ros2 lifecycle set {node.node_name} {retry}`"
        )

    return RegisterEventHandler(OnStateTransition(matcher=has_failed, entities=[OpaqueFunction(function=report)]))
