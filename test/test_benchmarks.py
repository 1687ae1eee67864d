"""The machinery of benchmarks/: counting, fitting, writing, refusing. Never what anything costs."""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch", reason="torch is not installed; `make test` installs it")
onnx = pytest.importorskip("onnx", reason="onnx is not installed; `make test` installs it")

from onnx import TensorProto, numpy_helper  # noqa: E402
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info  # noqa: E402

from benchmarks import bench  # noqa: E402
from benchmarks.alone import alone  # noqa: E402
from benchmarks.fits import fit_line  # noqa: E402
from benchmarks.measuring import Measured, in_turn, ratio  # noqa: E402
from benchmarks.operations import Work, stage_of, total, work_of_graph, work_of_model  # noqa: E402
from benchmarks.peaks import Peaks, product_model  # noqa: E402
from benchmarks.readme import summary  # noqa: E402
from benchmarks.roofline import least_ms, stage_times  # noqa: E402
from benchmarks.section import Section, cell, markdown, number, plain, table  # noqa: E402
from c2f_ros.contract import ContractError  # noqa: E402

MACHINE = {
    "cpu": "a processor", "cores": 2, "threads": 2, "cpu_flags": ["avx2"], "versions": {"numpy": "2.0", "torch": None},
    "git": "abc", "load_at_start": [0.1, 0.2, 0.3], "was_busy": False,
}  # fmt: skip


def graph_of(nodes, inputs, outputs, weights=()):
    values = [[make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in part] for part in (inputs, outputs)]
    tensors = [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in weights]
    graph = make_graph(nodes, "g", *values, tensors)
    return make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8)


def test_a_convolution_counts_its_kernel_at_every_place_of_every_output_channel():
    node = make_node("Conv", ["x", "w"], ["y"], "/module/encoder/layer1/conv", pads=[1, 1, 1, 1], strides=[2, 2])
    model = graph_of([node], [("x", [1, 3, 8, 6])], [("y", [1, 5, 4, 3])], [("w", [5, 3, 3, 3])])
    found = work_of_model(model)
    assert found == {"image encoder": Work(5 * 4 * 3 * 3 * 9, 5 * 3 * 9 * 4, (3 * 8 * 6 + 5 * 4 * 3) * 4)}


def test_a_grouped_convolution_counts_the_channels_of_its_group():
    node = make_node("Conv", ["x", "w"], ["y"], "conv", group=4)
    model = graph_of([node], [("x", [1, 4, 5, 5])], [("y", [1, 8, 5, 5])], [("w", [8, 1, 1, 1])])
    assert total(work_of_model(model)).macs == 8 * 5 * 5


def test_matrix_products_count_rows_times_columns_times_inner_length():
    product = make_node("MatMul", ["a", "b"], ["c"], "product")
    model = graph_of([product], [("a", [2, 7, 3]), ("b", [2, 3, 5])], [("c", [2, 7, 5])])
    assert total(work_of_model(model)) == Work(2 * 7 * 3 * 5, 0, 4 * (2 * 7 * 3 + 2 * 3 * 5 + 2 * 7 * 5))
    gemm = make_node("Gemm", ["a", "b"], ["c"], "gemm", transA=1)
    model = graph_of([gemm], [("a", [3, 7])], [("c", [7, 5])], [("b", [3, 5])])
    assert total(work_of_model(model)).macs == 7 * 3 * 5


def test_transposed_convolutions_and_einsums_count_too():
    up = make_node("ConvTranspose", ["x", "w"], ["y"], "up", strides=[2, 2])
    model = graph_of([up], [("x", [1, 3, 4, 4])], [("y", [1, 5, 8, 8])], [("w", [3, 5, 2, 2])])
    assert total(work_of_model(model)).macs == 3 * 4 * 4 * 5 * 2 * 2
    einsum = make_node("Einsum", ["a", "b"], ["c"], "e", equation="nij,njk->nik")
    model = graph_of([einsum], [("a", [2, 3, 4]), ("b", [2, 4, 5])], [("c", [2, 3, 5])])
    assert total(work_of_model(model)).macs == 2 * 3 * 4 * 5


def test_a_weight_that_two_operations_read_is_read_once():
    nodes = [make_node("MatMul", ["x", "w"], ["y"], "first"), make_node("MatMul", ["y", "w"], ["z"], "second")]
    model = graph_of(nodes, [("x", [1, 6, 6])], [("z", [1, 6, 6])], [("w", [6, 6])])
    found = total(work_of_model(model))
    assert found.weights == 6 * 6 * 4
    assert found.rows(3) == Work(3 * found.macs, found.weights, 3 * found.activations)


def test_element_by_element_operations_count_nothing():
    model = graph_of([make_node("Relu", ["x"], ["y"], "relu")], [("x", [1, 9])], [("y", [1, 9])])
    assert total(work_of_model(model)) == Work()


def test_an_unknown_shape_is_refused():
    node = make_node("MatMul", ["a", "b"], ["c"], "product")
    model = graph_of([node], [("a", [2, "length"]), ("b", ["length", 5])], [("c", [2, 5])])
    with pytest.raises(ValueError, match="the shape of a cannot be told"):
        work_of_model(model)


def test_a_file_with_any_number_of_objects_is_counted_for_one(tmp_path):
    node = make_node("MatMul", ["a", "w"], ["c"], "/module/transformer/blocks.0/product")
    model = graph_of([node], [("a", ["N", 4, 3])], [("c", ["N", 4, 5])], [("w", [3, 5])])
    onnx.save(model, str(tmp_path / "g.onnx"))
    assert work_of_graph(tmp_path / "g.onnx") == {"transformer": Work(4 * 3 * 5, 60, 4 * (4 * 3 + 4 * 5))}


@pytest.mark.parametrize(
    ("node", "stage"),
    [
        ("/module/encoder/down.0/block.0/conv1/Conv", "mask encoder"),
        ("/module/encoder/layer1/layer1.0/conv1/Conv", "image encoder"),
        ("/module/post_quant_conv/Conv", "mask decoder"),
        ("/module/transformer/blocks.2/attn/key/MatMul", "transformer"),
        ("/module/blocks.0/attn/query/MatMul", "transformer"),
        ("fused /module/rise.1/adapter/Conv", "refiner"),
        ("/module/remember/write/Conv", "memory"),
        ("/module/MatMul_1", "between them"),
    ],
)
def test_nodes_belong_to_stages_by_their_names(node, stage):
    assert stage_of(node) == stage


def test_every_stage_of_the_shipped_models_does_some_work(checkout):
    found = work_of_graph(checkout / "models" / "c2f_nano_video" / "c2f.onnx")
    assert {"mask encoder", "image encoder", "transformer", "mask decoder", "refiner"} <= set(found)
    assert 3e8 < total(found).macs < 5e8


def test_points_on_a_line_give_that_line():
    line = fit_line([1, 2, 4], [5.0, 7.0, 11.0])
    assert (line.at_zero, line.slope, line.r2) == pytest.approx((3.0, 2.0, 1.0))
    assert line(10) == pytest.approx(23.0)


def test_what_is_no_line_has_a_low_r2():
    assert fit_line([0, 1, 2, 3], [0.0, 1.0, 0.0, 1.0]).r2 == pytest.approx(0.2)
    assert fit_line([1, 2, 3], [4.0, 4.0, 4.0]).r2 == 1.0


def test_one_x_makes_no_line():
    with pytest.raises(ValueError, match="make no line"):
        fit_line([2, 2], [1.0, 3.0])


def test_ratios_are_taken_round_by_round():
    found = ratio(Measured((10.0, 40.0, 30.0)), Measured((5.0, 20.0, 10.0)))
    assert (found.median, found.low, found.high) == (2.0, 2.0, 2.5)


def test_everything_runs_equally_often_in_turn_and_each_begins_a_round():
    calls: list[str] = []
    found = in_turn({name: lambda name=name: calls.append(name) for name in "abc"}, 3)
    assert {name: len(measured.ms) for name, measured in found.items()} == {"a": 3, "b": 3, "c": 3}
    turns = "".join(name for name, _ in groupby(calls[6:]))  # the first six tell how long each takes
    assert turns == "abcbcacab"


def test_a_round_ends_early_only_after_the_least_rounds():
    assert len(in_turn({"a": lambda: None}, 9, seconds=0.0)["a"].ms) == 3
    assert len(in_turn({"a": lambda: None}, 2, seconds=0.0)["a"].ms) == 2


def test_the_bound_is_the_slower_of_arithmetic_and_memory():
    peaks = Peaks({"onnxruntime fp32": 80.0, "torch fp32": 100.0, "torch bf16": 200.0}, copy_gbs=10.0)
    assert least_ms(Work(macs=50_000_000, weights=10), peaks, "fp32") == (pytest.approx(1.0), "arithmetic")
    assert least_ms(Work(macs=50_000_000, weights=10), peaks, "bf16") == (pytest.approx(0.5), "arithmetic")
    assert least_ms(Work(macs=1000, weights=10_000_000, activations=10_000_000), peaks, "fp32") == (2.0, "memory")
    with pytest.raises(KeyError, match="no library was measured in int8"):
        peaks.best("int8")


def test_a_profile_is_cut_into_runs_and_stages():
    def event(name, us):
        return {"cat": "Node", "name": f"{name}_kernel_time", "dur": us}

    runs = [[event("/module/keep/Conv", us), event("/module/MatMul", 10)] for us in (900, 800, 100, 300, 200)]
    other = {"cat": "Session", "name": "model_run", "dur": 5000}
    found = stage_times([part for run in runs for part in (other, *run)])
    assert found == {"memory": pytest.approx(0.2), "between them": pytest.approx(0.01)}


def test_a_product_is_the_product():
    onnx.checker.check_model(product_model(4))


def test_tables_show_medians_with_their_spread_and_mark_what_is_missing():
    columns = {"what": "", "ms": "ms", "ratio": "ratio", "count": "objects"}
    row = {"what": "a|b", "ms": Measured((1.0, 2.0, 3.0)), "ratio": ratio(Measured((4.0,)), Measured((2.0,))), "x": 1}
    section = Section("key", "Title", "note", columns, [row])
    assert table(section) == [
        "|  | ms | ratio | objects |",
        "| --- | ---: | ---: | ---: |",
        "| a\\|b | 2.00 (1.50–2.50) | **2.00x** (2.00–2.00) | – |",
    ]
    assert section.plain()["rows"][0]["ms"] == {"median": 2.0, "low": 1.5, "high": 2.5, "rounds": [1.0, 2.0, 3.0]}
    assert "x" in section.plain()["rows"][0]
    assert table(Section("key", "Title", "note", columns)) == ["Nothing was measured."]


def test_numbers_have_three_digits_that_count():
    assert [number(v) for v in (1234.5, 123.4, 12.34, 1.234, 0.1234)] == ["1234", "123", "12.3", "1.23", "0.123"]
    assert (cell(None), cell(3), cell(True)) == ("–", "3", "True")
    assert plain({"a": (np.float64(1.23456789), None)}) == {"a": [1.2346, None]}


def test_the_page_says_what_it_was_measured_on():
    page = markdown([Section("key", "Title", "note", {"a": "a"}, [{"a": 1}])], MACHINE)
    assert "a processor, 2 cores (avx2), 2 threads; numpy 2.0; commit abc" in page
    assert "busy" not in page
    assert "busy" in markdown([], {**MACHINE, "was_busy": True})


def test_what_needs_more_than_others_has_files_of_its_own_which_stay_when_it_cannot_be_measured(tmp_path, capsys):
    results = {"machine": MACHINE, "seconds": {"all": 1.0}}
    rows = {"costs": [{"a": 1}], "cameras": [{"a": 2}]}
    bench._write(results, [Section(key, key, "note", {"a": "a"}, found) for key, found in rows.items()], [], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bench.json", "bench.md", "cameras.json", "cameras.md"]
    assert list(json.loads((tmp_path / "bench.json").read_text())["sections"]) == ["costs"]
    bench._write(results, [Section("cameras", "cameras", "There is no ROS 2.", {"a": "a"})], [], tmp_path)
    assert json.loads((tmp_path / "cameras.json").read_text())["sections"]["cameras"]["rows"] == [{"a": 2}]
    assert "cameras: There is no ROS 2." in capsys.readouterr().out


def test_what_is_no_checkout_of_the_published_code_is_refused(tmp_path, capsys):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "image_model.py").write_text("")
    assert bench.main(["--quick", "--official", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    sentence = capsys.readouterr().err
    assert "is no checkout of the published C2F-Seg implementation: it lacks src/image_component.py" in sentence
    assert not (tmp_path / "out").exists()


def test_weights_without_the_published_code_are_refused(capsys):
    assert bench.main(["--students", "x"]) == 1
    assert "give --official DIR" in capsys.readouterr().err


def test_the_published_packages_do_not_stay_imported(tmp_path, monkeypatch):
    from benchmarks import published_code

    for name in (*published_code.NEEDED, *published_code.CONFIGS):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    before = list(sys.path)
    with pytest.raises(ContractError, match="does not run here"), published_code.published_model(tmp_path):
        pass
    assert sys.path == before
    assert not [name for name in sys.modules if name.split(".")[0] in ("src", "taming_src")]
    assert torch.zeros(1).cuda.__name__ == "cuda"


def test_masks_are_compared_at_the_threshold_or_at_the_median_where_it_says_nothing():
    from benchmarks.official import _mean_iou

    expected = np.array([[[0.1, 0.2], [0.8, 0.9]]])
    assert _mean_iou(expected + 0.05, expected, 0.5) == pytest.approx(1.0)
    assert _mean_iou(np.array([[[0.1, 0.6], [0.8, 0.9]]]), expected, 0.5) == pytest.approx(2 / 3)
    nearly_one = 0.6 + 0.1 * expected  # all of it above the threshold
    assert _mean_iou(nearly_one[:, ::-1], nearly_one, 0.5) == pytest.approx(0.0, abs=1e-6)
    assert _mean_iou(None, expected, 0.5) is None


def test_the_readme_gets_a_row_per_claim_and_none_for_what_was_not_measured():
    def ms(value):
        return {"median": value}

    eager = {"model": "m", "objects": 4, "ours": ms(5.0), "ratio": ms(3.0), "exact_ratio": ms(2.0)}
    path = {"objects": 10, "image": "640x480", "path": 4.5}
    bench_results = {
        "is_quick": False, "machine": MACHINE,
        "sections": {"against_eager": {"rows": [eager]}, "whole_path": {"rows": [path]}},
    }  # fmt: skip
    rows = [{"what": "exact", "ms": ms(900.0), "ratio": ms(2.5), "aim": 2.2, "iou": 1.0}]
    official = {"sections": {"official": {"rows": rows}}}
    lines = summary(bench_results, official)
    assert (
        lines[2] == "| `m`, 4 objects, against the same network in PyTorch eager | 5.00 ms | 3.00x; in float32 2.00x |"
    )
    assert lines[3].endswith("| 4.50 ms of one core | aim: at most 6 ms |")
    assert lines[4] == "| published model, one object: exact | 900 ms | 2.50x (aim 2.2x); mask IoU 1.0000 |"
    assert len(summary(bench_results, None)) == len(lines) - 1
    assert "nothing to rely on" in summary({**bench_results, "is_quick": True}, None)[-1]


@pytest.mark.slow
def test_a_quick_run_writes_every_row(tmp_path, monkeypatch):
    models = [tiny_model(tmp_path / "tiny_image", False), tiny_model(tmp_path / "tiny_video", True)]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if find_spec("openvino"):  # its compiler takes most of the time; other numbers of rows: test_cpu_engines.py
        monkeypatch.setattr("c2f_ros.engines.openvino_engine.ROWS", (1,))
    out = tmp_path / "out"
    arguments = ["--quick", "--threads", "1", "--out", str(out), "--models", *map(str, models)]
    here = [part for part in bench.PARTS if part not in bench.OWN_FILES]  # cameras: test_camera_benchmark.py
    assert bench.main([*arguments, "--only", *here]) == 0
    results = json.loads((out / "bench.json").read_text())
    rows = {key: len(section["rows"]) for key, section in results["sections"].items()}
    assert rows.keys() >= {"against_eager", "window_against_stream", "costs", "whole_path", "peaks", "roofline"}
    assert all(rows.values())
    assert rows["against_eager"] == 4 and rows["window_against_stream"] == 4 and rows["costs"] == 7
    first = results["sections"]["against_eager"]["rows"][0]
    assert len(first["eager"]["rounds"]) == 2 and first["ratio"]["median"] > 0
    assert results["is_quick"] and results["machine"]["load_at_start"] and results["machine"]["git"]
    page = (out / "bench.md").read_text()
    assert all(f"## {section['title']}" in page for section in results["sections"].values())
    assert (out / "bench.png").stat().st_size > 1000


def tiny_model(folder: Path, is_stream: bool) -> Path:
    """A bundle with the configuration of its network beside it, as a trained one has."""
    from dataclasses import replace

    from benchmarks.random_models import random_bundle
    from c2f_ros.contract import to_plain
    from c2f_train.config import load_config
    from c2f_train.model.config import MemoryConfig

    config = load_config(Path(__file__).resolve().parent.parent / "training" / "configs" / "tiny.yaml").network
    if is_stream:
        config = replace(config, memory=MemoryConfig(result=True, features=4))
    random_bundle(config, folder)
    (folder / "config.yaml").write_text(yaml.safe_dump({"network": to_plain(config)}))
    return folder


def test_what_is_measured_alone_runs_in_another_process_with_one_thread_of_opencv():
    assert alone(os.getpid) != os.getpid()
    assert alone(cv2.getNumThreads) == 1
