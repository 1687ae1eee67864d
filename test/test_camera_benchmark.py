"""What the benchmark of several cameras counts: setups, CPU time of other processes, memory, rows. Never the costs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from benchmarks import cameras as part
from benchmarks.alone import alone
from benchmarks.camera_nodes import Nodes
from benchmarks.cameras import Found, Turn, cameras, make_rows, make_setups
from benchmarks.effort import Effort
from benchmarks.measuring import Ratio
from benchmarks.processes import cpu_seconds, memory_mb, together_mb
from benchmarks.section import table
from c2f_ros.contract import ContractError

PROGRAM = """\
559000-55a000 r-xp 00001000 fe:00 42                         /lib/library one.so
Rss:                {program} kB
Pss:                 100 kB
Anonymous:             0 kB
559000-55a000 rw-p 00003000 fe:00 42                         /lib/library one.so
Rss:                 300 kB
Pss:                 250 kB
Anonymous:           200 kB
7e0000-7e1000 rw-s 00000000 00:14 17                         /dev/shm/of the middleware
Rss:                9999 kB
Pss:                  10 kB
Anonymous:             0 kB
7f0000-7f1000 rw-p 00000000 00:00 0
Rss:                {own} kB
Pss:                {own} kB
Anonymous:          {own} kB
"""


def test_one_camera_runs_alone_and_more_run_both_ways():
    one, together, apart = make_setups((1, 2))
    assert (one.count, one.is_one, one.processes) == (1, True, {"apart1": ("apart1",)})
    assert (together.count, together.is_one) == (2, True)
    assert together.processes == {"together2": ("together2_1", "together2_2")}
    assert (apart.count, apart.is_one) == (2, False)
    assert apart.processes == {"apart1": ("apart1",), "apart2": ("apart2",)}
    assert together.cameras == ["together2_1", "together2_2"]


def test_no_camera_is_in_two_processes():
    processes = {name: names for setup in make_setups((1, 2, 4)) for name, names in setup.processes.items()}
    every = [camera for names in processes.values() for camera in names]
    assert len(processes) == 6 and len(every) == len(set(every)) == 10


def test_a_file_counts_once_own_pages_for_each_process_and_messages_not_at_all():
    first, second = PROGRAM.format(program=5000, own=2048), PROGRAM.format(program=4000, own=1024)
    held, pss = together_mb([first, second])
    assert held * 1024 == pytest.approx((2048 + 200) + (1024 + 200) + 5000 + 100)
    assert pss * 1024 == pytest.approx((100 + 250 + 10 + 2048) + (100 + 250 + 10 + 1024))
    assert together_mb([first])[0] * 1024 == pytest.approx(2048 + 200 + 5000 + 100)


def test_memory_of_this_process_lies_between_its_own_pages_and_all_it_has_mapped():
    found = memory_mb([os.getpid()])
    if found is None:
        pytest.skip("this system has no /proc/PID/smaps")
    held, pss = found
    assert 1 < pss <= held * 1.1  # it grows a little between the readings
    assert memory_mb([2**22 + 1]) is None


def test_cpu_time_of_another_process_is_that_of_its_threads_and_does_not_pass_while_it_waits():
    work = "import sys, threading, time\ndef burn():\n while time.thread_time() < 0.1: pass\n"
    work += "t = threading.Thread(target=burn); t.start(); t.join()\nprint(time.process_time(), flush=True)\n"
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", work + "sys.stdin.read()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None and process.stdin is not None
        told = float(process.stdout.readline())
        found = cpu_seconds(process.pid)
        assert 0.1 <= told <= found < told + 0.05
        assert cpu_seconds(process.pid) < found + 0.01
        process.stdin.close()
    with pytest.raises(OSError, match="has no clock"):
        cpu_seconds(process.pid)


def test_a_frame_costs_what_a_turn_took_over_what_it_published_and_ratios_are_taken_turn_by_turn():
    setups = make_setups((1, 2))
    turns = [
        (Turn(2, 0.04, (0.01, 0.03), 9.0), Turn(2, 0.06, (0.02, 0.02), 9.0)),
        (Turn(4, 0.10, (0.03,) * 4, 9.0), Turn(4, 0.20, (0.05,) * 4, 9.0)),
        (Turn(4, 0.12, (0.03,) * 3, 9.0), Turn(4, 0.30, (0.05,) * 4, 9.0)),
    ]
    memories = [(300.0, 250.0), (400.0, 390.0), None]
    one, together, apart = make_rows([Found(*each) for each in zip(setups, turns, memories, strict=True)])
    assert one["cpu"].ms == pytest.approx((20.0, 30.0)) and one["ratio"] is None
    assert one["hz"] == 9.0
    assert one["answer_ms"] == pytest.approx(20.0)
    assert (together["cameras"], together["memory_mb"], together["pss_mb"]) == (2, 400.0, 390.0)
    assert apart["cpu"].ms == pytest.approx((40.0, 75.0))
    assert isinstance(apart["ratio"], Ratio) and apart["ratio"].median == pytest.approx((40 / 25 + 75 / 50) / 2)
    assert (apart["published"], apart["sent"], apart["memory_mb"]) == (7, 8, None)


def test_a_turn_without_an_answer_is_refused_since_its_frames_have_no_cost():
    with pytest.raises(ContractError, match=r"1 cameras? \(one\): no answer in a whole turn"):
        make_rows([Found(make_setups((1,))[0], (Turn(2, 0.1, (), 9.0),), None)])


def test_without_ros_2_one_sentence_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(part, "ros_side", lambda: None)
    section = cameras(tmp_path, Effort(1, is_quick=True))
    assert "rclpy" in section.note and table(section) == ["Nothing was measured."]


def test_a_node_that_ends_is_reported_with_its_last_words(tmp_path):
    with Nodes(tmp_path / "no_model", "auto", tmp_path, 1) as nodes:
        nodes._running["a"] = subprocess.Popen([sys.executable, "-S", "-c", "raise SystemExit(3)"])
        nodes._running["a"].wait()
        (tmp_path / "a.log").write_text("first line\nthe model is missing\n")
        with pytest.raises(ContractError, match="status 3, .* it said: the model is missing"):
            nodes.cpu_s(["a"])


@pytest.mark.ros
@pytest.mark.slow
def test_a_quick_run_measures_real_nodes_both_ways(checkout):
    """In a process of its own, as in `make bench`; quick: two frames a turn, on the engine that starts soonest."""
    section = alone(cameras, checkout / "models" / "c2f_nano", Effort(1, is_quick=True))
    assert [(row["cameras"], row["where"]) for row in section.rows] == [
        (1, "one"), (2, "all in one process"), (2, "a process each"),
    ]  # fmt: skip
    assert [row["sent"] for row in section.rows] == [4, 8, 8]
    assert all(0 < row["published"] <= row["sent"] for row in section.rows)
    assert all(0 < row["hz"] <= part.RATE_HZ for row in section.rows)
    assert all(len(row["cpu"].ms) == 2 and min(row["cpu"].ms) > 0 for row in section.rows)
    one, together, apart = (row["memory_mb"] for row in section.rows)
    assert one < together < apart
    assert "Engine: ONNX Runtime" in section.note
