"""`ros2 launch c2f_ros several_cameras.launch.py cameras:=left,right`: an amodal mask node for every camera, each in a
process and a namespace of its own.

Camera `left` sends /left/image_raw and /left/masks; its results are on /left/c2f/output/instances. Give every node its
share of the machine's cores with `engine_threads` in params_file.
`ros2 launch c2f_ros several_cameras.launch.py --show-args` lists the arguments.
"""

from __future__ import annotations

import re

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription, OpaqueFunction
from launch.substitutions import PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

IMAGE, MASKS = "image_raw", "masks"
"""Names of a camera's topics in its namespace."""


def generate_launch_description() -> LaunchDescription:
    """The arguments, and a node for every camera."""
    default_parameters = PathJoinSubstitution([FindPackageShare("c2f_ros"), "config", "c2f.yaml"])
    arguments = [
        DeclareLaunchArgument("cameras", description="Namespaces of the cameras, with commas between: left,right."),
        DeclareLaunchArgument("params_file", default_value=default_parameters, description="All nodes' parameters."),
        DeclareLaunchArgument(
            "model", default_value="", description="Model by name or folder; empty: the one that params_file names."
        ),
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start_nodes)])


def start_nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """`amodal.launch.py` for every camera, each with arguments of its own."""
    value = context.launch_configurations
    cameras = [name.strip() for name in value["cameras"].split(",")]
    if len(set(cameras)) < len(cameras) or not all(re.fullmatch(r"[A-Za-z]\w*(/[A-Za-z]\w*)*", c) for c in cameras):
        raise RuntimeError(f"cameras is {value['cameras']!r}, expected different namespaces, as in left,right")
    one = PathJoinSubstitution([FindPackageShare("c2f_ros"), "launch", "amodal.launch.py"])
    return [
        GroupAction(
            [
                IncludeLaunchDescription(
                    one,
                    launch_arguments={
                        "namespace": camera,
                        "image": f"/{camera}/{IMAGE}",
                        "masks": f"/{camera}/{MASKS}",
                        "params_file": value["params_file"],
                        "model": value["model"],
                    }.items(),
                )
            ]
        )
        for camera in cameras
    ]
