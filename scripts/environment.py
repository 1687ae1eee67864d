#!/usr/bin/env python3
"""Makes the virtual environment .venv, then runs a command in it.

    python3 scripts/environment.py PROFILE [-- COMMAND ...]

PROFILE says what the command needs: `demo` (the runtime, ROS 2 and the scene generator), `train` (and torch) or
`test` (and the test tools); each contains the one before. What is there already and unchanged is not made again:
the dependencies follow the requirement files, the package itself follows every file that is installed with it.

Where a ROS 2 is sourced (apt on a robot) it is used, and nothing of ROS comes from pip. Elsewhere ROS 2 Jazzy comes
as PyPI wheels. Only the standard library is imported here, since this runs before anything is installed.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "cmake"))

from ros_underlay import INDEX, sourced_underlays  # noqa: E402

VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STATE = VENV / "c2f_environment.json"
LOG = ROOT / "build" / "environment.log"
CONSTRAINTS = ROOT / "requirements" / "constraints.txt"

OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 14)  # for which there are ROS 2 wheels
IN_VENV = "--no-build-isolation"  # build with the tools in .venv, and not with a second copy in a temporary folder
HEARTBEAT_S = 15.0
TAIL_LINES = 40

# Profile: the profile it contains, extras of the package, extras of the training package.
PROFILES = {
    "demo": (None, ["demo", "openvino"], []),
    "train": ("demo", [], ["train"]),
    "test": ("train", ["tensorrt", "test"], []),
}
# Free disk that installing a profile takes, downloads included, in GB.
FREE_GB = {"demo": 2.5, "train": 3.5, "test": 4.0}
DEPENDENCY_FILES = ["requirements", "pyproject.toml", "training/pyproject.toml", "cmake/build_backend.py"]
PACKAGE_FILES = ["CMakeLists.txt", "package.xml", "pyproject.toml", "setup.py", "cmake", "msg", "scripts", "launch"]
PACKAGE_FILES += ["config", "models", "c2f_ros"]


class EnvironmentProblem(Exception):
    """Something is missing; the message says in one sentence what, and what to do."""


def main() -> int:
    """Prepare, then become the command. Returns 1 after a problem, which is printed."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("profile", choices=PROFILES)
    arguments.add_argument("command", nargs="*", help="what to run in the environment, after --")
    given = arguments.parse_args()
    try:
        check_machine()
        underlays = [prefix for prefix in sourced_underlays() if prefix != VENV]
        with open(__file__) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two runs of make in one checkout take turns
            prepare(given.profile, underlays)
    except EnvironmentProblem as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    if given.command:
        sys.stdout.flush()
        variables = run_variables(underlays)
        program = shutil.which(given.command[0], path=variables["PATH"]) or given.command[0]
        os.execve(program, given.command, variables)
    return 0


def check_machine() -> None:
    """Raise EnvironmentProblem for the first thing that this machine lacks."""
    version = sys.version_info[:2]
    if not OLDEST_PYTHON <= version <= NEWEST_PYTHON:
        raise EnvironmentProblem(
            f"Python is {platform.python_version()}, and 3.{OLDEST_PYTHON[1]} to 3.{NEWEST_PYTHON[1]} work: install "
            "one of these and name it, as in `make PYTHON=python3.11 demo`"
        )
    if (platform.system(), platform.machine()) != ("Linux", "x86_64") and not sourced_underlays():
        raise EnvironmentProblem(
            f"this machine is {platform.system()} {platform.machine()}, and the ROS 2 wheels exist for Linux x86_64 "
            "only: install ROS 2 from apt and source it (source /opt/ros/jazzy/setup.bash)"
        )
    for compiler, package in (("gcc", "gcc"), ("g++", "g++")):
        if not shutil.which(compiler):
            raise EnvironmentProblem(f"{compiler}, which compiles the messages, is missing: apt install {package}")
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        raise EnvironmentProblem("Python.h, which the messages are compiled with, is missing: apt install python3-dev")
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        raise EnvironmentProblem("Python's venv module is missing: apt install python3-venv") from None


def check_disk(profile: str, free_bytes: int) -> None:
    """Raise EnvironmentProblem if the profile cannot be installed with so many free bytes: pip would fail halfway."""
    if free_bytes < FREE_GB[profile] * 1e9:
        raise EnvironmentProblem(
            f"{free_bytes / 1e9:.1f} GB are free on the disk of {ROOT}, and installing `{profile}` takes "
            f"{FREE_GB[profile]} GB: make room, or use another disk"
        )


def prepare(profile: str, underlays: list[Path]) -> None:
    """Make .venv satisfy `profile`; quick when it does already."""
    start = time.monotonic()
    base = json.dumps([platform.python_version(), [str(prefix) for prefix in underlays]])
    dependencies, package = fingerprint(DEPENDENCY_FILES), fingerprint(PACKAGE_FILES)
    state = json.loads(STATE.read_text()) if STATE.is_file() else {}
    if state.get("base") != base or not PYTHON.exists():
        create_venv(sees_system_packages=bool(underlays))
        state = {"base": base}
    has_dependencies = state.get("dependencies") == dependencies and profile in state["profiles"]
    if has_dependencies and state["package"] == package:
        return
    kept = state["profiles"] if state.get("dependencies") == dependencies else []
    STATE.write_text(json.dumps({"base": base}))  # what is half installed must not pass for whole
    if has_dependencies:
        pip(
            "installing the package, which has changed",
            [IN_VENV, "--no-deps", "--force-reinstall", str(ROOT)],
            underlays,
        )
    else:
        check_disk(profile, shutil.disk_usage(ROOT).free)
        install_everything(profile, underlays)
    check_imports(underlays)
    profiles = sorted(contained(profile) | set(kept))
    state = {"base": base, "dependencies": dependencies, "profiles": profiles, "package": package}
    STATE.write_text(json.dumps(state, indent=1))
    print(f"environment ready in {time.monotonic() - start:.0f} s", flush=True)


def contained(profile: str) -> set[str]:
    """The profile and all that it contains."""
    inner = PROFILES[profile][0]
    return {profile} | (contained(inner) if inner else set())


def fingerprint(names: list[str]) -> str:
    """A hash of the names and contents of these files and folders of the checkout; absent ones count as empty."""
    digest = hashlib.sha256()
    for name in names:
        path = ROOT / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(ROOT)} {file.stat().st_size}\n".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()


def create_venv(sees_system_packages: bool) -> None:
    """A new, empty .venv."""
    if VENV.is_symlink() or (VENV.exists() and not (VENV / "pyvenv.cfg").is_file()):
        raise EnvironmentProblem(f"{VENV} is no virtual environment and would be overwritten: move it away")
    shutil.rmtree(VENV, ignore_errors=True)
    command = [sys.executable, "-m", "venv", str(VENV)]
    command += ["--system-site-packages"] if sees_system_packages else []
    step(f"creating .venv with Python {platform.python_version()}", command, dict(os.environ))


def install_everything(profile: str, underlays: list[Path]) -> None:
    """Build tools, dependencies, the package and the training package."""
    build = ["-r", str(ROOT / "requirements" / "build.txt")]
    source = "build-underlay.txt" if underlays else "build-jazzy.txt"
    origin = f"the sourced one in {underlays[-1]}" if underlays else "Jazzy, as PyPI wheels"
    build += ["-r", str(ROOT / "requirements" / source)]
    pip(f"installing build tools; ROS 2 is {origin}", build, underlays)
    profiles = contained(profile)
    extras = [extra for name in profiles for extra in PROFILES[name][1]] + ([] if underlays else ["jazzy"])
    training_extras = [extra for name in profiles for extra in PROFILES[name][2]]
    packages = [IN_VENV, with_extras(ROOT, extras), "--editable", with_extras(ROOT / "training", training_extras)]
    pip(f"installing dependencies for `{profile}` and building the package", packages, underlays)


def with_extras(folder: Path, extras: list[str]) -> str:
    """What pip calls the package in a folder with these extras."""
    return f"{folder}[{','.join(sorted(extras))}]" if extras else str(folder)


def pip(title: str, arguments: list[str], underlays: list[Path]) -> None:
    """One `pip install`, pinned by the constraints file."""
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check"]
    step(title, [*command, "--constraint", str(CONSTRAINTS), *arguments], run_variables(underlays))


def step(title: str, command: list[str], variables: dict[str, str]) -> None:
    """Run one command into the log; print its title, a sign of life now and then, and how long it took."""
    print(f"{title} ...", flush=True)
    start = time.monotonic()
    LOG.parent.mkdir(exist_ok=True)
    with LOG.open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=variables)
    while True:
        try:
            code = process.wait(timeout=HEARTBEAT_S)
            break
        except subprocess.TimeoutExpired:
            print(f"    {time.monotonic() - start:4.0f} s  {last_lines(1)[:90]}", flush=True)
    if code != 0:
        print(last_lines(TAIL_LINES), file=sys.stderr)
        raise EnvironmentProblem(
            f"{title.partition(';')[0]} failed after {time.monotonic() - start:.0f} s; above is the end of "
            f"{LOG.relative_to(ROOT)}, and if it speaks of connections, pip does not reach its package index"
        )
    print(f"    {time.monotonic() - start:4.0f} s", flush=True)


def last_lines(count: int) -> str:
    """The newest lines of the log."""
    return "\n".join(LOG.read_text(errors="replace").splitlines()[-count:]).strip()


def check_imports(underlays: list[Path]) -> None:
    """Raise EnvironmentProblem unless the environment's Python imports ROS 2 and our messages."""
    command = [str(PYTHON), "-c", "import rclpy, c2f_ros.msg"]
    result = subprocess.run(command, env=run_variables(underlays), cwd=VENV, capture_output=True, text=True)
    if result.returncode != 0:
        reason = (result.stderr.strip().splitlines() or ["no message"])[-1]
        sourced = f"; the sourced ROS 2 in {underlays[-1]} may be for another Python" if underlays else ""
        raise EnvironmentProblem(f"rclpy and our messages were installed but cannot be imported ({reason}){sourced}")


def run_variables(underlays: list[Path]) -> dict[str, str]:
    """The environment variables of everything that runs in .venv.

    Without a sourced ROS 2, leftovers of another one are dropped: what of it is in LD_LIBRARY_PATH would be loaded.
    """
    variables = dict(os.environ)
    for name in ("PYTHONHOME", "_ROS_WHEELS_BOOTSTRAP_COMPLETE"):
        variables.pop(name, None)
    if not underlays:
        for name in ("PYTHONPATH", "CMAKE_PREFIX_PATH", "COLCON_PREFIX_PATH", "RMW_IMPLEMENTATION"):
            variables.pop(name, None)
        libraries = [entry for entry in variables.pop("LD_LIBRARY_PATH", "").split(os.pathsep) if entry]
        libraries = [entry for entry in libraries if not (Path(entry).parent / INDEX).is_dir()]
        if libraries:
            variables["LD_LIBRARY_PATH"] = os.pathsep.join(libraries)
    else:
        libraries = [str(VENV / "lib"), variables.get("LD_LIBRARY_PATH", "")]
        variables["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, libraries))
    variables["VIRTUAL_ENV"] = str(VENV)
    variables["PATH"] = os.pathsep.join([str(VENV / "bin"), os.environ.get("PATH", os.defpath)])
    variables["AMENT_PREFIX_PATH"] = os.pathsep.join(map(str, [VENV, *underlays]))
    variables["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    variables["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)  # our own, so that no other robot or run is heard
    return variables


if __name__ == "__main__":
    sys.exit(main())
