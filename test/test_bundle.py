"""A bundle is proven before it is used: hashes, shapes and the golden sample, each refused in one sentence."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from c2f_ros.bundle import HASH_BLOCK, find_model, load_bundle
from c2f_ros.contract import ContractError
from c2f_ros.engines.golden import LEAST_IOU
from c2f_ros.records import Batch
from c2f_ros.steps.step6_engine import check_golden, open_engine


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    folder = tmp_path / "c2f_nano"
    shutil.copytree(find_model("c2f_nano"), folder)
    return folder


def change(folder: Path, *path: str, value: object) -> None:
    plain = yaml.safe_load((folder / "manifest.yaml").read_text())
    part = plain
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    (folder / "manifest.yaml").write_text(yaml.safe_dump(plain))


def test_the_shipped_model_opens_and_reproduces_its_golden_sample():
    bundle = load_bundle(find_model("c2f_nano"))
    assert check_golden(open_engine("auto", bundle, 2), bundle) <= 1 - LEAST_IOU
    exact = open_engine("onnxruntime", bundle, 2)
    assert check_golden(exact, bundle) <= bundle.manifest.golden.tolerance


def test_the_shipped_model_is_small_enough():
    folder = find_model("c2f_nano")
    assert sum(f.stat().st_size for f in folder.iterdir()) <= 16e6


def test_two_runs_give_equal_bytes():
    bundle = load_bundle(find_model("c2f_nano"))
    batch = Batch(**bundle.golden_inputs)
    first, second = (open_engine("auto", bundle, 2).run(batch).amodal.tobytes() for _ in range(2))
    assert first == second


def test_an_object_s_mask_does_not_depend_on_the_batch_it_is_in():
    bundle = load_bundle(find_model("c2f_nano"))
    engine = open_engine("onnxruntime", bundle, 2)
    batch = Batch(**bundle.golden_inputs)
    together, alone = engine.run(batch).amodal, engine.run(batch.part(slice(1, 2))).amodal
    assert np.abs(together[1] - alone[0]).max() < 1e-4


def test_a_changed_graph_or_golden_file_is_refused(copy):
    for name in ("c2f.onnx", "golden.npz"):
        data = (copy / name).read_bytes()
        (copy / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(ContractError, match=f"{name} has sha256"):
            load_bundle(copy)
        (copy / name).write_bytes(data)


def test_a_missing_file_is_refused_by_name(copy):
    (copy / "c2f.onnx").unlink()
    with pytest.raises(ContractError, match="c2f.onnx"):
        load_bundle(copy)


def test_shapes_that_the_graph_does_not_have_are_refused(copy):
    plain = yaml.safe_load((copy / "manifest.yaml").read_text())
    outputs = [o for o in plain["graph"]["outputs"] if o["name"] != "coarse"]
    change(copy, "graph", "outputs", value=outputs)
    with pytest.raises(ContractError, match="graph outputs are"):
        open_engine("auto", load_bundle(copy), 1)


def test_a_golden_sample_that_is_not_met_is_refused(copy):
    change(copy, "golden", "tolerance", value=-1.0)
    with pytest.raises(ContractError, match="golden sample of c2f_nano differs"):
        open_engine("auto", load_bundle(copy), 1)


def replace_golden(folder: Path, **arrays: np.ndarray) -> None:
    with np.load(folder / "golden.npz") as golden:
        kept = {name: golden[name] for name in golden.files}
    np.savez(folder / "golden.npz", **kept | arrays)
    change(folder, "golden", "sha256", value=hashlib.sha256((folder / "golden.npz").read_bytes()).hexdigest())


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("image", np.zeros((1, 24, 3, 64, 64), np.float32)),
        ("image", np.zeros((0, 3, 64, 64), np.float32)),
        ("masks", np.zeros((1, 1, 64, 64), np.float32)),
        ("amodal", np.zeros((1, 64, 64), np.float64)),
    ],
)
def test_a_golden_sample_of_another_shape_is_refused(copy, name, array):
    replace_golden(copy, **{name: array})
    with pytest.raises(ContractError, match="golden.npz holds .*, expected float32"):
        load_bundle(copy)


def test_a_file_longer_than_one_block_is_hashed_whole(copy):
    path = copy / "c2f.onnx"
    assert path.stat().st_size > HASH_BLOCK
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ContractError, match="c2f.onnx has sha256"):
        load_bundle(copy)


def test_a_broken_manifest_and_an_unknown_name_are_refused(copy):
    (copy / "manifest.yaml").write_text("a: [1")
    with pytest.raises(ContractError, match="cannot be read"):
        load_bundle(copy)
    with pytest.raises(ContractError, match="c2f_nano"):
        find_model("no_such_model")


def test_an_unknown_engine_is_refused():
    with pytest.raises(ContractError, match="expected one of auto, tensorrt, .*openvino"):
        open_engine("tensorflow", load_bundle(find_model("c2f_nano")), 1)
