"""Plans on disk: only the plan that was asked for, whole, is ever handed out."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from c2f_ros.plan_store import LENGTH_BYTES, MAGIC, PlanStore, StalePlan, default_folder

PLAN = bytes(range(256)) * 20


@pytest.fixture
def store(tmp_path: Path) -> PlanStore:
    return PlanStore(tmp_path / "plans")


def test_what_was_saved_is_loaded_with_what_is_known_of_it(store):
    store.save("k", PLAN, {"gpu": "a card", "most_rows": 4})
    assert store.load("k") == PLAN
    about = store.about("k")
    assert (about["gpu"], about["most_rows"], about["key"]) == ("a card", 4, "k")


def test_no_plan_is_no_error(store):
    assert store.load("k") is None


@pytest.mark.parametrize("at", [0, len(MAGIC), len(MAGIC) + LENGTH_BYTES + 3, -1])
def test_a_changed_byte_anywhere_is_refused(store, at):
    path = store.save("k", PLAN, {"gpu": "a card"})
    content = bytearray(path.read_bytes())
    content[at] ^= 0x40
    path.write_bytes(content)
    with pytest.raises(StalePlan, match="build the engine again"):
        store.load("k")


@pytest.mark.parametrize("kept", [0, 5, len(MAGIC) + 3, 60, -1])
def test_a_cut_file_is_refused(store, kept):
    path = store.save("k", PLAN, {})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(StalePlan):
        store.load("k")


def test_a_plan_under_another_plan_s_name_is_refused(store):
    os.replace(store.save("theirs", PLAN, {}), store.path("ours"))
    with pytest.raises(StalePlan, match="built for something else"):
        store.load("ours")


def test_a_bare_plan_of_another_program_is_refused(store):
    store.folder.mkdir()
    store.path("k").write_bytes(b"ftrt" + PLAN)
    with pytest.raises(StalePlan, match="no plan of this package"):
        store.load("k")


def test_a_head_that_is_no_object_is_refused(store):
    store.folder.mkdir()
    head = json.dumps(["k"]).encode()
    store.path("k").write_bytes(MAGIC + len(head).to_bytes(LENGTH_BYTES, "little") + head + PLAN)
    with pytest.raises(StalePlan, match="no object"):
        store.load("k")


def test_saving_again_replaces_the_plan_and_leaves_nothing_else(store):
    store.save("k", PLAN, {})
    store.save("k", b"newer", {})
    assert store.load("k") == b"newer"
    assert [path.name for path in store.folder.iterdir()] == ["k.plan"]


def test_a_save_that_fails_leaves_the_old_plan(store, monkeypatch):
    store.save("k", PLAN, {})

    def full(file: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        store.save("k", b"newer", {})
    assert store.load("k") == PLAN
    assert [path.name for path in store.folder.iterdir()] == ["k.plan"]


def test_a_full_folder_loses_what_was_not_used_for_longest(tmp_path):
    store = PlanStore(tmp_path, most_bytes=3 * 5400)
    for age, key in enumerate(("a", "b", "c")):
        os.utime(store.save(key, PLAN, {}), (age, age))
    assert store.load("a") == PLAN  # used now: "b" is the oldest
    store.save("d", PLAN, {})
    assert [key for key in "abcd" if store.load(key)] == ["a", "c", "d"]


def test_the_newest_plan_stays_even_if_it_is_larger_than_the_bound(tmp_path):
    store = PlanStore(tmp_path, most_bytes=10)
    store.save("k", PLAN, {})
    assert store.load("k") == PLAN


def test_the_user_s_cache_folder_is_the_default(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "c2f_ros" == PlanStore().folder
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_folder() == Path.home() / ".cache" / "c2f_ros"
