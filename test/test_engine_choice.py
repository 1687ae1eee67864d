"""Which engine runs: pure logic, every case; and what it is fed by."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from c2f_ros.bundle import find_model, load_bundle
from c2f_ros.contract import ContractError
from c2f_ros.engines import cpu_verdict
from c2f_ros.engines.choosing import (
    CPU_KINDS,
    GPU_KINDS,
    KINDS,
    Candidate,
    Probes,
    choose_engine,
    cpu_candidates,
    fastest,
    gpu_candidates,
)
from c2f_ros.engines.cpu_features import Cpu, read_cpu
from c2f_ros.engines.cpu_verdict import FILE, MOST_VERDICTS, VerdictStore, measure, time_per_object, verdict_key

ORT, OV32, OV16 = Candidate("onnxruntime", "fp32"), Candidate("openvino", "fp32"), Candidate("openvino", "bf16")


def probes(missing=(), bf16=True, times=None, broken=None) -> Probes:
    """times: seconds by candidate; those that `broken` names fail."""
    times, broken = times or {ORT: 4e-3, OV32: 3.9e-3, OV16: 2.5e-3}, broken or {}

    def measured(candidates):
        works = {one: times[one] for one in candidates if one not in broken}
        return works, {one: broken[one] for one in candidates if one in broken}

    return Probes(lambda kind: f"no {kind}" if kind in missing else "", lambda: bf16, measured)


def forbidden(*_):
    raise AssertionError("nothing is to be asked for")


@pytest.mark.parametrize("there", list(product((True, False), repeat=len(GPU_KINDS))))
def test_auto_takes_the_first_gpu_engine_that_is_there_and_says_why_not_the_others(there):
    missing = [kind for kind, is_there in zip(GPU_KINDS, there, strict=True) if not is_there]
    choice = choose_engine("auto", "auto", probes(missing))
    first = next((kind for kind in GPU_KINDS if kind not in missing), "openvino")
    assert choice.kind == first
    before = GPU_KINDS[: GPU_KINDS.index(first)] if first in GPU_KINDS else GPU_KINDS
    assert all((f"no {kind}" in choice.why) == (kind in before) for kind in GPU_KINDS)


def test_with_a_gpu_nothing_of_the_cpu_is_asked():
    assert choose_engine("auto", "fp16", Probes(lambda kind: "", forbidden, forbidden)).precision == "fp16"


@pytest.mark.parametrize("failures", range(6))
def test_auto_goes_on_to_the_next_when_one_does_not_open(failures):
    tried = [one for kind in GPU_KINDS for one in gpu_candidates(kind, "auto")]
    assert [str(one) for one in tried] == [
        "tensorrt fp16", "tensorrt fp32", "tensorrt_rtx fp16", "tensorrt_rtx fp32", "onnxruntime_cuda fp32",
    ]  # fmt: skip
    failed = {one: f"{one} broke" for one in tried[:failures]}
    choice = choose_engine("auto", "auto", probes(), failed)
    assert choice.candidate == (*tried, OV16)[failures]
    assert all(f"not {one}: {one} broke" in choice.why for one in failed)


def test_after_every_gpu_engine_failed_so_may_one_on_the_cpu():
    failed = {OV16: "it broke later"}
    choice = choose_engine("auto", "auto", probes(GPU_KINDS), failed)
    assert choice.candidate == ORT and "not openvino bf16: it broke later" in choice.why


@pytest.mark.parametrize("kind", ["tensorrt", "tensorrt_rtx"])
def test_a_named_gpu_engine_may_be_more_exact_but_not_another(kind):
    half, whole = gpu_candidates(kind, "auto")
    assert choose_engine(kind, "auto", probes()).candidate == half
    assert choose_engine(kind, "auto", probes(), {half: "masks differ"}).candidate == whole
    with pytest.raises(ContractError, match="^masks differ; no memory$"):
        choose_engine(kind, "auto", probes(), {half: "masks differ", whole: "no memory"})
    with pytest.raises(ContractError, match="^masks differ$"):
        choose_engine(kind, "fp16", probes(), {half: "masks differ"})


@pytest.mark.parametrize(
    ("bf16", "times", "expected"),
    [
        (True, {ORT: 4.0, OV32: 3.9, OV16: 2.5}, OV16),
        (True, {ORT: 4.0, OV32: 3.9, OV16: 3.8}, ORT),
        (True, {ORT: 4.0, OV32: 3.0, OV16: 2.9}, OV32),
        (False, {ORT: 4.0, OV32: 3.7}, ORT),
        (False, {ORT: 4.0, OV32: 3.0}, OV32),
        (False, {ORT: 3.0, OV32: 4.0}, ORT),
    ],
)
def test_on_a_cpu_the_faster_engine_wins_and_the_exact_one_where_the_gain_is_small(bf16, times, expected):
    choice = choose_engine("auto", "auto", probes(GPU_KINDS, bf16, times))
    assert (choice.kind, choice.precision) == (expected.kind, expected.precision)
    assert f"{expected} {1e3 * times[expected]:.2f} ms" in choice.why


def test_without_a_second_cpu_engine_nothing_is_measured():
    given = Probes(lambda kind: "" if kind == "onnxruntime" else "not here", lambda: True, forbidden)
    assert choose_engine("auto", "auto", given).kind == "onnxruntime"


def test_a_candidate_that_breaks_is_left_out_and_named():
    choice = choose_engine("auto", "auto", probes(GPU_KINDS, broken={OV16: "masks differ"}))
    assert (choice.kind, choice.precision) == (
        "onnxruntime",
        "fp32",
    ) and "not openvino bf16: masks differ" in choice.why
    choice = choose_engine("auto", "auto", probes(GPU_KINDS, broken={ORT: "x", OV16: "y"}))
    assert (choice.kind, choice.precision) == ("openvino", "fp32") and "the only one that works" in choice.why


def test_where_nothing_works_every_reason_is_said_once():
    with pytest.raises(ContractError, match="no engine works here: .*not onnxruntime fp32, openvino fp32.*: broken"):
        choose_engine("auto", "auto", probes(GPU_KINDS, broken=dict.fromkeys((ORT, OV32, OV16), "broken")))
    with pytest.raises(ContractError, match="no engine works here: .*not onnxruntime: .*; not openvino: "):
        choose_engine("auto", "auto", probes((*GPU_KINDS, *CPU_KINDS)))


def test_a_precision_is_never_replaced():
    assert choose_engine("auto", "bf16", probes(GPU_KINDS)).precision == "bf16"
    assert choose_engine("auto", "fp32", probes(GPU_KINDS)).kind == "onnxruntime"
    for precision, bf16 in (("fp16", True), ("int8", True), ("bf16", False)):
        with pytest.raises(ContractError, match=f"openvino does not compute in {precision}"):
            choose_engine("auto", precision, probes(GPU_KINDS, bf16))
        with pytest.raises(ContractError, match=f"onnxruntime does not compute in {precision}"):
            choose_engine("onnxruntime", precision, probes((), bf16))
    with pytest.raises(ContractError, match="onnxruntime_cuda does not compute in fp16"):
        choose_engine("onnxruntime_cuda", "fp16", probes())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "auto"])
def test_an_engine_that_is_named_runs_or_is_refused(kind):
    choice = choose_engine(kind, "auto", probes([other for other in KINDS if other != kind]))
    assert choice.kind == kind and choice.why.startswith("named by the parameter engine")
    with pytest.raises(ContractError, match=f"engine {kind} cannot run here: no {kind}"):
        choose_engine(kind, "auto", probes([kind]))


def test_a_named_cpu_engine_is_measured_only_where_it_has_a_choice():
    asked = Probes(lambda kind: "", lambda: True, forbidden)
    assert choose_engine("onnxruntime", "auto", asked).precision == "fp32"
    assert choose_engine("openvino", "bf16", asked).precision == "bf16"
    assert choose_engine("openvino", "auto", probes()).precision == "bf16"
    assert choose_engine("openvino", "auto", probes(broken={OV16: "masks differ"})).precision == "fp32"
    with pytest.raises(ContractError, match="^no$"):
        choose_engine("openvino", "auto", probes(broken={OV16: "no", OV32: "no"}))


def test_an_unknown_engine_is_refused():
    with pytest.raises(ContractError, match="engine is 'cuda', expected one of auto, tensorrt"):
        choose_engine("cuda", "auto", probes())


def test_bf16_is_for_cpus_that_have_it():
    assert cpu_candidates("openvino", "auto", True) == (OV16, OV32)
    assert cpu_candidates("openvino", "auto", False) == (OV32,)
    assert cpu_candidates("onnxruntime", "auto", True) == (ORT,)
    assert fastest({}, (ORT,)) is None


def test_what_the_processor_is_and_can_do(tmp_path):
    first = "processor\t: 0\nmodel name\t: Fast One\nmodel\t\t: 7\nflags\t\t: fpu avx512_bf16\n"
    (tmp_path / "cpuinfo").write_text(f"{first}\nprocessor\t: 1\nflags\t: x\n")
    cpu = read_cpu(tmp_path / "cpuinfo")
    assert cpu.has_bf16 and cpu.flags == {"fpu", "avx512_bf16"} and "Fast One 7" in cpu.name
    assert not read_cpu(tmp_path / "absent").has_bf16
    assert not Cpu("", frozenset({"avx512f"})).has_bf16


# ---- measuring


class Clocked:
    """An engine that counts its calls."""

    name, precision = "clocked", "fp32"

    def __init__(self) -> None:
        self.rows, self.is_closed = [], False

    def compute(self, inputs):
        self.rows.append(len(inputs["image"]))

    def close(self) -> None:
        self.is_closed = True


def test_every_candidate_is_opened_timed_and_closed_and_low_precision_follows_a_working_fp32():
    bundle, opened = load_bundle(find_model("c2f_nano")), {}

    def open_one(candidate):
        if candidate.kind == "openvino":
            raise ContractError(f"{candidate} is broken")
        return opened.setdefault(candidate, Clocked())

    times, broken = measure(bundle, (ORT, OV16, OV32), open_one)
    assert set(times) == {ORT} and times[ORT] > 0
    assert broken == {OV32: "openvino fp32 is broken", OV16: "openvino fp32 is broken"}
    engine = opened[ORT]
    assert engine.is_closed and set(engine.rows) == {8} and 1 <= len(engine.rows) <= 8


def test_a_large_model_is_timed_with_few_objects(monkeypatch):
    whole = load_bundle(find_model("c2f_nano"))
    graph = replace(whole.manifest.graph, batch_limit=3)
    bounded, engine = replace(whole, manifest=replace(whole.manifest, graph=graph)), Clocked()
    time_per_object(engine, bounded)
    assert set(engine.rows) == {3}
    monkeypatch.setattr(cpu_verdict, "LARGE_BYTES", 1000)
    engine = Clocked()
    time_per_object(engine, whole)
    assert set(engine.rows) == {1}


def test_verdicts_are_remembered_by_all_that_they_depend_on(tmp_path):
    nano, video = (load_bundle(find_model(name)) for name in ("c2f_nano", "c2f_nano_video"))
    cpu, other = Cpu("a", frozenset({"x"})), Cpu("a", frozenset({"y"}))
    keys = {
        verdict_key(nano, 1, (ORT, OV32), cpu),
        verdict_key(nano, 1, (ORT, OV32), other),
        verdict_key(nano, 2, (ORT, OV32), cpu),
        verdict_key(nano, 1, (ORT, OV32, OV16), cpu),
        verdict_key(video, 1, (ORT, OV32), cpu),
    }
    assert len(keys) == 5
    store, key = VerdictStore(tmp_path / "new"), min(keys)
    assert store.load(key, (ORT, OV32)) is None
    store.save(key, ({ORT: 0.25}, {OV32: "broken"}))
    assert VerdictStore(tmp_path / "new").load(key, (ORT, OV32)) == ({ORT: 0.25}, {OV32: "broken"})
    assert store.load(key, (ORT, OV32, OV16)) is None and store.load("other", (ORT, OV32)) is None


def test_the_file_of_verdicts_is_bounded_and_may_be_anything(tmp_path):
    store = VerdictStore(tmp_path)
    for number in range(MOST_VERDICTS + 3):
        store.save(str(number), ({ORT: 1.0}, {}))
    kept = json.loads((tmp_path / FILE).read_text())
    assert len(kept) == MOST_VERDICTS and list(kept)[-1] == str(MOST_VERDICTS + 2) and "2" not in kept
    for text in ("", "[1]", '{"7": 3}', '{"7": {"times": {"other": 1}, "broken": {}}}'):
        (tmp_path / FILE).write_text(text)
        assert store.load("7", (ORT,)) is None
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_folder_that_cannot_be_written_costs_measuring_again(tmp_path):
    (tmp_path / "file").write_text("")
    store = VerdictStore(Path(tmp_path / "file" / "folder"))
    store.save("1", ({ORT: 1.0}, {}))
    assert store.load("1", (ORT,)) is None
