"""One package for colcon and pip: its files agree with one another, and what is built from them is whole."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from xml.etree import ElementTree

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
LAUNCH_FILE = ROOT / "launch" / "amodal.launch.py"
EXECUTABLES = ["bag", "bench", "build_engine", "c2f_node", "replay"]

# rosdep key: pip requirement, where cutting "python3-" and "-pip" off the key does not give it.
PIP_NAMES = {"python3-opencv": "opencv-python-headless", "python3-pil": "pillow", "python3-yaml": "pyyaml"}
WITHOUT_ROSDEP_KEY = {"av", "pycocotools"}
# Python module: pip requirement, where they differ.
MODULE_NAMES = {"PIL": "pillow", "cv2": "opencv-python-headless", "yaml": "pyyaml"}
# Used where they are installed, and done without elsewhere.
OPTIONAL_MODULES = {"cuda", "cv_bridge", "onnx", "openvino", "tensorrt", "tensorrt_rtx", "vision_msgs"}
# Every host that a text of ours may name. None of them serves packages.
ALLOWED_HOSTS = {
    "arxiv.org",
    "docs.ros.org",
    "download.pytorch.org",  # weights of networks, as the next one
    "raw.githubusercontent.com",
    "download.ros.org",
    "github.com",
    "www.apache.org",
    "www.eprosima.com",
    "www.ros.org",
    "www.w3.org",
}


@pytest.fixture(scope="module")
def project() -> dict:
    """pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def package() -> ElementTree.Element:
    """package.xml."""
    return ElementTree.parse(ROOT / "package.xml").getroot()


def test_versions_agree(project: dict, package: ElementTree.Element) -> None:
    newest = re.search(r"^(\d+\.\d+\.\d+) \(\d{4}-\d{2}-\d{2}\)\n-+$", (ROOT / "CHANGELOG.rst").read_text(), re.M)
    assert newest, "CHANGELOG.rst has no release"
    assert project["project"]["version"] == package.findtext("version") == newest[1]


def test_cmake_finds_what_package_xml_declares(package: ElementTree.Element) -> None:
    found = set(re.findall(r"^find_package\((\w+) REQUIRED\)", (ROOT / "CMakeLists.txt").read_text(), re.M))
    assert found == depends(package, "buildtool_depend", "depend")


def test_package_xml_and_pyproject_name_the_same_python_packages(project: dict, package: ElementTree.Element) -> None:
    keys = {key for key in depends(package, "exec_depend") if key.startswith("python3-")}
    names = {PIP_NAMES.get(key, key.removeprefix("python3-").removesuffix("-pip")) for key in keys}
    assert names | WITHOUT_ROSDEP_KEY == requirement_names(project["project"]["dependencies"])


def test_base_dependencies_hold_no_ros(project: dict) -> None:
    everywhere = project["project"]["dependencies"] + project["build-system"]["requires"]
    assert [name for name in requirement_names(everywhere) if name.startswith("ros-")] == []


def test_every_import_is_declared(project: dict, package: ElementTree.Element) -> None:
    pip = requirement_names(project["project"]["dependencies"])
    declared = depends(package, "depend", "exec_depend") | OPTIONAL_MODULES
    undeclared = {
        f"{path.relative_to(ROOT)}: {module}"
        for path in [*sorted((ROOT / "c2f_ros").rglob("*.py")), LAUNCH_FILE]
        for module in imported_modules(path)
        if module not in declared and MODULE_NAMES.get(module, module) not in pip
    }
    # The demo alone draws a scene with the training package's generator.
    assert undeclared - {"c2f_ros/demo.py: c2f_train"} == set()


def test_launch_file_declares_exactly_these_arguments() -> None:
    calls = [node for node in ast.walk(ast.parse(LAUNCH_FILE.read_text())) if isinstance(node, ast.Call)]
    declared = [
        call.args[0].value
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "DeclareLaunchArgument"
    ]
    expected = ["autostart", "image", "instances", "log_level", "masks", "model", "namespace", "params_file"]
    assert sorted(declared) == expected


def test_launch_of_several_cameras_gives_the_launch_file_of_one_arguments_that_it_has() -> None:
    tree = ast.parse(LAUNCH_FILE.with_name("several_cameras.launch.py").read_text())
    given = next(
        k.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for k in node.keywords
        if k.arg == "launch_arguments"
    )
    names = {key.value for node in ast.walk(given) if isinstance(node, ast.Dict) for key in node.keys}
    assert names == {"namespace", "image", "masks", "params_file", "model"}
    assert all(f'"{name}"' in LAUNCH_FILE.read_text() for name in names)


def test_init_imports_nothing_of_ours() -> None:
    code = "import sys, c2f_ros; print([m for m in sys.modules if m.startswith(('c2f_', 'rclpy', 'numpy'))])"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "['c2f_ros']"


def test_executables_call_a_main_that_exists(project: dict) -> None:
    targets = set(project["project"]["scripts"].values())
    for name in EXECUTABLES:
        path = ROOT / "scripts" / name
        assert os.access(path, os.X_OK), f"scripts/{name} is not executable"
        imported = re.search(r"^from (c2f_ros\.\w+) import main$", path.read_text(), re.M)
        assert imported, f"scripts/{name} imports no main"
        assert f"{imported[1]}:main" in targets
    for target in sorted(targets):
        module = ROOT / (target.partition(":")[0].replace(".", "/") + ".py")
        functions = [node.name for node in ast.parse(module.read_text()).body if isinstance(node, ast.FunctionDef)]
        assert "main" in functions, target


def test_texts_name_no_package_index_and_no_path_of_one_machine() -> None:
    options = "|".join("--" + name for name in ("index-url", "extra-index-url", "find-links"))
    folders = "|".join(("home", "root", "work", "Users"))
    forbidden = re.compile(rf"{options}|{'file:' + '//'}|(?<![\w.)}}])/(?:{folders})/\w")
    for path, text in tracked_texts():
        assert not (match := forbidden.search(text)), f"{path}: {match[0]!r}"
        hosts = set(re.findall(r"https?://([\w.-]+)", text)) - ALLOWED_HOSTS
        assert hosts == set(), f"{path} names {hosts}; if they serve no packages, allow them here"


def test_installed_distribution_is_whole() -> None:
    # Not metadata.distribution(): run from the checkout, that finds what a build left there.
    library = sysconfig.get_path("platlib")
    files = [file for found in metadata.distributions(name="c2f_ros", path=[library]) for file in found.files or []]
    if not files:
        pytest.skip("c2f_ros was not installed by pip")
    installed = {os.path.normpath(file.locate()) for file in files}
    modules = Path(library) / "c2f_ros"
    share = Path(sys.prefix) / "share" / "c2f_ros"
    expected = [modules / path.relative_to(ROOT / "c2f_ros") for path in data_files(ROOT / "c2f_ros")]
    for folder in ("config", "launch", "models", "msg"):
        expected += [share / path.relative_to(ROOT) for path in data_files(ROOT / folder)]
    expected += [Path(sys.prefix) / "lib" / "c2f_ros" / name for name in EXECUTABLES]
    missing = [str(path) for path in expected if os.path.normpath(path) not in installed]
    assert missing == [], "not in the installed package; if they are new, `make test` installs it again"


@pytest.mark.ros
@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--symlink-install"]], ids=["copied", "symlinked"])
def test_colcon_builds_a_workspace_that_works(tmp_path: Path, options: list[str]) -> None:
    if not shutil.which("colcon"):
        pytest.skip("colcon is not installed")
    build = ["colcon", "--log-base", "log", "build", "--base-paths", str(ROOT), *options]
    build += ["--cmake-args", "-DBUILD_TESTING=OFF", f"-DPython3_EXECUTABLE={sys.executable}"]
    result = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    use = (
        "from ament_index_python.packages import get_package_prefix as prefix\n"
        "import c2f_ros.contract, c2f_ros.msg as m, rclpy.serialization as s\n"
        "print(prefix('c2f_ros'), c2f_ros.contract.__file__, len(s.serialize_message(m.AmodalInstanceArray())))"
    )
    shell = f'source install/local_setup.bash && "{sys.executable}" -c "$USE"'
    result = subprocess.run(
        ["bash", "-c", shell], cwd=tmp_path, env={**os.environ, "USE": use}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    prefix, module, _ = result.stdout.split()
    assert Path(prefix) == tmp_path / "install" / "c2f_ros"
    assert Path(module).is_relative_to(prefix)
    for name in EXECUTABLES:
        assert os.access(Path(prefix) / "lib" / "c2f_ros" / name, os.X_OK)
    for name in ("launch/amodal.launch.py", "config/fastdds_large_images.xml", "msg/InstanceMask.msg"):
        assert (Path(prefix) / "share" / "c2f_ros" / name).is_file()


def depends(package: ElementTree.Element, *tags: str) -> set[str]:
    """The names in package.xml's elements of these tags."""
    return {element.text or "" for tag in tags for element in package.findall(tag)}


def requirement_names(requirements: list[str]) -> set[str]:
    """The names in pip requirements, without versions."""
    return {re.match(r"[\w-]+", requirement)[0].lower() for requirement in requirements}


def imported_modules(path: Path) -> Iterator[str]:
    """The top-level modules outside the standard library and this package that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        for name in {name.partition(".")[0] for name in names}:
            if name not in sys.stdlib_module_names and name != "c2f_ros":
                yield name


def data_files(folder: Path) -> list[Path]:
    """Every file below a folder of the checkout, but for compiled Python."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]


def tracked_texts() -> Iterator[tuple[str, str]]:
    """Path and text of every tracked text file, the licence left out."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if name == "LICENSE" or not path.is_file():
            continue
        try:
            yield name, path.read_text()
        except UnicodeDecodeError:
            continue
