"""Who may import whom, read from the syntax trees of all files."""

import ast
from pathlib import Path

import pytest

SHARED = (
    "contract",
    "geometry",
    "motion",
    "parallax",
    "extents",
    "following",
    "follower",
    "object_memory",
    "crops",
    "records",
    "metrics",
    "video_metrics",
    "occlusion_order",
    "order_metrics",
    "baselines",
    "bundle",
    "sources",
    "engine_plans",
    "build_engine_cli",
)
"""Modules of c2f_ros that c2f_train may import: the contract, the geometry, reading data, and building engines."""
LIBRARIES = {
    "onnxruntime": {"onnxruntime_engine.py", "onnxruntime_quantizer.py"},
    "openvino": {"openvino_engine.py"},
    "tensorrt": {"tensorrt_library.py"},
    "tensorrt_rtx": {"tensorrt_library.py"},
    "cuda": {"cuda_device.py"},
}
"""Libraries of engines, each with the only files that may import it: one that runs graphs, one that makes them."""
NODE_SIDE = (
    "node.py",
    "node_parameters.py",
    "lifecycle_guard.py",
    "spinning.py",
    "ros_messages.py",
    "player.py",
    "recorder.py",
    "live.py",
)
ROS = (
    "rclpy",
    "sensor_msgs",
    "std_msgs",
    "diagnostic_msgs",
    "lifecycle_msgs",
    "rcl_interfaces",
    "launch",
    "launch_ros",
)


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively; name the module in full"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def roots(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


def python_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*.py") if "__pycache__" not in p.parts)


def test_the_runtime_never_imports_torch_or_the_training_package(checkout):
    files = python_files(checkout / "c2f_ros")
    assert len(files) > 20
    for path in files:
        assert not roots(path) & {"torch", "torchvision", "c2f_train"}, path


@pytest.mark.parametrize(("library", "files"), LIBRARIES.items())
def test_only_its_own_files_import_an_engine_s_library(checkout, library, files):
    importing = {path.name for path in python_files(checkout / "c2f_ros") if library in roots(path)}
    assert importing <= files


def test_ros_is_imported_on_the_node_s_side_only(checkout):
    for path in python_files(checkout / "c2f_ros"):
        is_ros = roots(path) & set(ROS) or any(name.startswith("c2f_ros.msg") for name in imports(path))
        assert not is_ros or path.name in NODE_SIDE, path


@pytest.mark.parametrize("leaf", ["contract", "geometry"])
def test_contract_and_geometry_import_nothing_of_ours(checkout, leaf):
    assert "c2f_ros" not in roots(checkout / "c2f_ros" / f"{leaf}.py")


def test_training_imports_only_the_shared_modules_of_the_runtime(checkout):
    for path in python_files(checkout / "training" / "c2f_train"):
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "c2f_ros" and len(parts) > 1:
                assert parts[1] in SHARED, f"{path} imports {name}"


def test_the_generator_needs_no_torch(checkout):
    for path in python_files(checkout / "training" / "c2f_train" / "synth"):
        assert not any(name.split(".")[0] in ("torch", "onnx", "onnxruntime") for name in imports(path)), path
