"""The engines on a CPU, each as it is: equal results, bounded threads, refusals; and what decides between them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from c2f_ros.bundle import Bundle, find_model, load_bundle
from c2f_ros.contract import ContractError
from c2f_ros.engines.cpu_features import read_cpu
from c2f_ros.engines.golden import LEAST_IOU, check_golden, mean_iou
from c2f_ros.engines.settings import DeviceSettings
from c2f_ros.records import Batch
from c2f_ros.steps.step6_engine import engine_line, engine_values, open_engine

BF16 = pytest.param("openvino", "bf16", marks=pytest.mark.skipif(not read_cpu().has_bf16, reason="no bf16 here"))
KINDS = pytest.mark.parametrize(("kind", "precision"), [("onnxruntime", "fp32"), ("openvino", "fp32"), BF16])
ROWS = (1, 2, 5, 11)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(find_model("c2f_nano"))


@pytest.fixture(scope="module")
def engines(bundle):
    """Opened once each: compiling takes a second."""
    opened = {}

    def engine_of(kind: str, precision: str):
        if kind == "openvino":
            pytest.importorskip("c2f_ros.engines.openvino_engine", reason="OpenVINO is not installed")
        if (kind, precision) not in opened:
            settings = DeviceSettings(precision=precision)
            opened[kind, precision] = open_engine(kind, bundle, 1, device=settings)
        return opened[kind, precision]

    yield engine_of
    for engine in opened.values():
        engine.close()


def batch_of(bundle: Bundle, count: int) -> Batch:
    """Golden objects in turn, each with other noise."""
    rng, rows = np.random.default_rng(count), np.arange(count) % len(bundle.golden_inputs["image"])
    inputs = {name: array[rows] for name, array in bundle.golden_inputs.items()}
    noise = rng.normal(0, 0.02, inputs["image"].shape).astype(np.float32)
    return Batch(inputs["image"] + noise, inputs["masks"])


@KINDS
def test_two_runs_give_equal_bytes_for_any_number_of_objects(bundle, engines, kind, precision):
    engine = engines(kind, precision)
    for count in ROWS:
        batch = batch_of(bundle, count)
        assert engine.run(batch).amodal.tobytes() == engine.run(batch).amodal.tobytes()


@KINDS
def test_an_object_s_mask_does_not_depend_on_the_others_in_its_batch(bundle, engines, kind, precision):
    engine, whole = engines(kind, precision), batch_of(bundle, 11)
    together = engine.run(whole).amodal
    alone = np.concatenate([engine.run(whole.part(slice(row, row + 1))).amodal for row in range(11)])
    assert mean_iou(together > 0.5, alone > 0.5) > 0.999
    assert np.abs(together - alone).max() < (1e-4 if precision == "fp32" else 0.1)


@pytest.mark.parametrize(("precision", "most"), [("fp32", 1e-4), pytest.param("bf16", 0.2, marks=BF16.marks)])
def test_openvino_finds_what_onnx_runtime_finds(bundle, engines, precision, most):
    for count in ROWS:
        batch = batch_of(bundle, count)
        one, other = (engines(*which).run(batch).amodal for which in (("onnxruntime", "fp32"), ("openvino", precision)))
        assert np.abs(one - other).max() < most and mean_iou(one > 0.5, other > 0.5) >= LEAST_IOU


@KINDS
def test_what_runs_and_why_is_said_in_one_line(engines, kind, precision):
    engine = engines(kind, precision)
    line = engine_line(engine)
    assert "\n" not in line and "named by the parameter engine" in line and engine.precision == precision
    values = engine_values(engine)
    assert values == {"engine": line, "engine_precision": precision, "engine_device_bytes": "none"}


def test_auto_measures_once_and_keeps_the_verdict(bundle, tmp_path, engines):
    engines("openvino", "fp32")
    settings = DeviceSettings(cache=tmp_path)
    lines = []
    for _ in range(2):
        engine = open_engine("auto", bundle, 1, device=settings)
        lines.append(engine_line(engine))
        engine.close()
    assert lines[0] == lines[1] and "CPU time per object onnxruntime fp32" in lines[0]
    assert "not tensorrt" in lines[0]


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_precision_that_cpu_engines_do_not_have_is_refused(bundle, precision):
    settings = DeviceSettings(precision=precision)
    for kind in ("onnxruntime", "auto"):
        with pytest.raises(ContractError, match=f"onnxruntime does not compute in {precision} here"):
            open_engine(kind, bundle, 1, device=settings)


def test_a_broken_graph_is_refused_by_openvino_too(bundle, tmp_path):
    openvino_engine = pytest.importorskip("c2f_ros.engines.openvino_engine", reason="OpenVINO is not installed")
    (tmp_path / "c2f.onnx").write_bytes(bundle.graph_path.read_bytes()[:5000])
    with pytest.raises(ContractError, match="c2f.onnx does not load in OpenVINO"):
        openvino_engine.OpenVinoEngine(replace(bundle, folder=tmp_path), 1, 8, "fp32")
    with pytest.raises(ContractError, match="OpenVINO runs in fp32 or bf16, not in int8"):
        openvino_engine.OpenVinoEngine(bundle, 1, 8, "int8")


@pytest.mark.parametrize(
    ("count", "expected"), [(0, []), (1, [1]), (4, [4]), (11, [8, 2, 1]), (17, [8, 8, 1]), (15, [8, 4, 2, 1])]
)
def test_rows_are_cut_into_the_sizes_that_were_compiled(count, expected):
    openvino_engine = pytest.importorskip("c2f_ros.engines.openvino_engine", reason="OpenVINO is not installed")
    cut = list(openvino_engine.parts(count, openvino_engine.ROWS))
    assert [part.stop - part.start for part in cut] == expected
    assert [row for part in cut for row in range(part.start, part.stop)] == list(range(count))


# ---- ONNX Runtime with CUDA


def test_without_a_cuda_provider_the_engine_is_refused(bundle, monkeypatch):
    from c2f_ros.engines import onnxruntime_engine

    monkeypatch.setattr(onnxruntime_engine.onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ContractError, match="engine onnxruntime_cuda cannot run here: .*no CUDA provider"):
        open_engine("onnxruntime_cuda", bundle, 1)


def test_a_session_that_fell_back_to_the_cpu_is_refused(bundle, monkeypatch):
    from c2f_ros.engines import onnxruntime_engine

    names = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime_engine.onnxruntime, "get_available_providers", lambda: names)
    opened, real = [], onnxruntime_engine.onnxruntime.InferenceSession

    def session(path, options, providers):
        opened.append(providers)
        return real(path, options, providers=["CPUExecutionProvider"])  # what onnxruntime does when CUDA is broken

    monkeypatch.setattr(onnxruntime_engine.onnxruntime, "InferenceSession", session)
    with pytest.raises(ContractError, match="opened c2f.onnx on CPUExecutionProvider, expected CUDAExecutionProvider"):
        open_engine("onnxruntime_cuda", bundle, 1, device=DeviceSettings(memory_mb=100))
    ((name, options), _) = opened[0]
    assert name == "CUDAExecutionProvider" and options["gpu_mem_limit"] == str(100 << 20) and options["use_tf32"] == "0"
    assert "gpu_mem_limit" not in onnxruntime_engine.cuda_options(DeviceSettings(memory_mb=0))


# ---- golden samples in low precision


class Answering:
    """An engine that answers with the golden outputs, somewhat changed."""

    name = "answering"

    def __init__(self, bundle: Bundle, precision: str, change) -> None:
        self.precision, self._outputs = precision, {n: change(n, a.copy()) for n, a in bundle.golden_outputs.items()}

    def compute(self, inputs):
        return self._outputs


def shifted(pixels: int):
    return lambda name, array: np.roll(array, pixels, axis=-1) if name == "amodal" else array


def noisy(share: float):
    def change(name, array):
        noise = np.random.default_rng(0).normal(size=array.shape) * np.sqrt(np.mean(array**2)) * share
        return array if name == "amodal" else (array + noise).astype(np.float32)

    return change


def test_low_precision_is_judged_by_masks_and_states():
    video = load_bundle(find_model("c2f_nano_video"))
    unchanged = Answering(video, "bf16", lambda name, array: array)
    assert check_golden(unchanged, video) == 0.0
    blurred = Answering(video, "bf16", lambda name, array: array * 0.999 if name == "amodal" else array)
    assert check_golden(blurred, video) < 1 - LEAST_IOU
    assert check_golden(Answering(video, "fp16", noisy(0.01)), video) == 0.0
    with pytest.raises(ContractError, match=r"in fp16 on answering has a mean mask IoU of 0\.\d+, at least 0.995"):
        check_golden(Answering(video, "fp16", shifted(1)), video)
    with pytest.raises(ContractError, match=r"differs by 5\.\d+% in memory_next, at most 2% is allowed"):
        check_golden(Answering(video, "bf16", noisy(0.05)), video)
    with pytest.raises(ContractError, match="differs by .* in amodal on answering"):
        check_golden(Answering(video, "fp32", shifted(1)), video)


def test_a_state_that_is_no_number_or_of_another_shape_is_refused():
    video = load_bundle(find_model("c2f_nano_video"))
    for change in (lambda a: np.full_like(a, np.nan), lambda a: a[:, :1]):
        engine = Answering(video, "bf16", lambda name, array, c=change: c(array) if name == "memory_next" else array)
        with pytest.raises(ContractError, match="differs by .* in memory_next"):
            check_golden(engine, video)


def test_two_empty_masks_are_equal():
    empty, full = np.zeros((1, 4, 4), bool), np.ones((1, 4, 4), bool)
    assert mean_iou(empty, empty) == 1.0 and mean_iou(empty, full) == 0.0
    assert mean_iou(np.concatenate([empty, full]), np.concatenate([full, full])) == 0.5


# ---- what the process does besides

WORKING = """
import glob, sys
from c2f_ros.bundle import find_model, load_bundle
from c2f_ros.parameters import make_parameters
from c2f_ros.pipeline import open_pipeline
import cv2, numpy as np

def working():
    found = {}
    for task in glob.glob("/proc/self/task/*"):
        with open(task + "/schedstat") as file:
            found[task] = int(file.read().split()[0])
    return found

kind, precision, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
values = {"model": "c2f_nano", "engine": kind, "engine_precision": precision, "engine_threads": threads}
pipeline = open_pipeline(make_parameters(values))
golden = load_bundle(find_model("c2f_nano")).golden_inputs
inputs = {name: np.concatenate([array] * 2) for name, array in golden.items()}
gray = np.random.default_rng(0).integers(0, 255, (480, 640)).astype(np.uint8)
before = working()
for _ in range(12):
    pipeline.engine.compute(inputs)
    cv2.GaussianBlur(gray, (31, 31), 0)
spent = {task: time - before.get(task, 0) for task, time in working().items()}
print(sum(time > 0.02 * sum(spent.values()) for time in spent.values()))
"""


@pytest.mark.skipif(not Path("/proc/self/schedstat").is_file(), reason="needs Linux's count of CPU time per thread")
@pytest.mark.parametrize("threads", [1, 2])
@KINDS
def test_no_more_threads_work_than_the_parameter_allows(checkout, engines, kind, precision, threads):
    engines(kind, precision)
    variables = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    command = [sys.executable, "-c", WORKING, kind, precision, str(threads)]
    done = subprocess.run(command, cwd=checkout, env=variables, capture_output=True, text=True, check=True)
    assert 1 <= int(done.stdout.split()[-1]) <= threads


def test_importing_openvino_reports_to_nobody(checkout, tmp_path):
    pytest.importorskip("c2f_ros.engines.openvino_engine", reason="OpenVINO is not installed")
    lines = (
        "import socket, sys",
        "def connect(*_): raise AssertionError('a connection')",
        "socket.socket.connect = connect",
        "import c2f_ros.engines.openvino_engine",
        "assert not [m for m in sys.modules if m.split('.')[0] == 'openvino_telemetry']",
    )
    variables = {**os.environ, "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=checkout, env=variables, check=True)
    assert list(tmp_path.iterdir()) == []


def test_a_graph_too_large_is_compiled_for_one_row(bundle, monkeypatch):
    openvino_engine = pytest.importorskip("c2f_ros.engines.openvino_engine", reason="OpenVINO is not installed")
    monkeypatch.setattr(openvino_engine, "LARGE_BYTES", 1)
    engine = openvino_engine.OpenVinoEngine(bundle, 1, 8, "fp32")
    found = engine.compute(dict(bundle.golden_inputs))["amodal"]
    assert np.abs(found - bundle.golden_outputs["amodal"]).max() <= bundle.manifest.golden.tolerance
    assert list(engine._mode._graph._requests) == [1]
