"""Streaming networks as bundles: what the runtime remembers is what torch remembers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from needs_torch import torch
from tiny import tiny_config

from c2f_ros.bundle import Bundle, load_bundle
from c2f_ros.contract import CropSpec, InputSpec
from c2f_ros.following import alignment
from c2f_ros.geometry import Box
from c2f_ros.motion import Similarity
from c2f_ros.records import Batch
from c2f_ros.steps.step6_engine import open_engine, run_engine
from c2f_train import export
from c2f_train.export import export_bundle
from c2f_train.model.config import MemoryConfig
from c2f_train.model.stream import StreamNetwork
from c2f_train.official.synthetic_input import synthetic_batch

pytestmark = pytest.mark.usefixtures("one_thread")

ALIGNED, RING = MemoryConfig(result=True, features=3), MemoryConfig(ring=3)
BOTH = MemoryConfig(result=True, features=3, ring=2, cached="last")


def random_network(memory: MemoryConfig, steps: int = 1) -> StreamNetwork:
    """A network on whose memory everything depends."""
    config = tiny_config().network
    config = replace(config, memory=memory, inference=replace(config.inference, steps=steps))
    torch.manual_seed(0)
    network = StreamNetwork(config).eval()
    with torch.no_grad():
        for name, value in network.named_parameters():
            if name.startswith("recall") or name.endswith(("emb.weight", "m_dec.weight", "amodal.out.weight")):
                value.normal_(0.0, 0.3)
    return network


def exported(network: StreamNetwork, folder: Path) -> float:
    config = network.config
    crop = CropSpec("followed", config.crop_size, 2.0, 0.2)
    spec = InputSpec("rgb", (0.5,) * 3, (0.25,) * 3, config.mask_channels)
    return export_bundle(network, crop, spec, "tiny", "", synthetic_batch(config, 2, 0), {"seed": 0}, folder)


def crops(bundle: Bundle, frame: int) -> Batch:
    """Two objects, the second one only from the third frame on; crops move and change their size."""
    names, rows = {tensor.name: tensor.shape[1:] for tensor in bundle.manifest.inputs}, 1 + (frame > 1)
    rng = np.random.default_rng(frame)
    image = rng.standard_normal((rows, *names["image"])).astype(np.float32)
    masks = (rng.random((rows, *names["masks"])) > 0.5).astype(np.float32)
    side = 80 + 5 * frame
    boxes = tuple(Box(9 * frame + row, row - frame, 9 * frame + row + side, row - frame + side) for row in range(rows))
    return Batch(image, masks, tuple(range(40, 40 + rows)), boxes, (Similarity(1.01**frame, 8.0 * frame, 0.0),) * rows)


class Remembered:
    """One object's states, kept in the simplest way."""

    def __init__(self, network: StreamNetwork) -> None:
        self.network, self.temporal = network, network.config.temporal_spec()
        self.aligned = torch.zeros(1, network.config.memory.channels, 32, 32)
        self.ring: list[list[torch.Tensor]] = []
        self.view: tuple[Box, Similarity] | None = None

    def step(self, batch: Batch, row: int) -> np.ndarray:
        given, memory, view = [], self.network.config.memory, (batch.boxes[row], batch.anchors[row])
        if memory.channels:
            warp = (1.0, 0.0, 0.0) if self.view is None else alignment(*self.view, *view)
            given += [torch.tensor([warp]), self.aligned]
        if memory.ring:
            empty = memory.ring - len(self.ring)
            blank = torch.zeros(self.temporal.state[-1].shape)
            given.append(torch.tensor([[*range(len(self.ring)), *[-1] * empty]]))
            given += [torch.stack([kept[k] for kept in self.ring] + [blank] * empty)[None] for k in range(2)]
        inputs = (torch.from_numpy(array[row : row + 1]) for array in (batch.image, batch.masks))
        with torch.no_grad():
            amodal, _, _, *states = self.network(*inputs, *given)
        if memory.channels:
            self.aligned = states.pop(0)
        if memory.ring:
            self.ring = [[state[0] for state in states], *self.ring][: memory.ring]
        self.view = view
        return amodal[0].numpy()


@pytest.mark.parametrize("memory", [ALIGNED, RING, BOTH], ids=["aligned", "ring", "both"])
def test_the_runtime_s_memory_gives_what_torch_gives_frame_after_frame(tmp_path, memory):
    network = random_network(memory, steps=2 if memory is BOTH else 1)
    assert exported(network, tmp_path / "m") < 1e-4
    bundle = load_bundle(tmp_path / "m")
    assert bundle.manifest.temporal == network.config.temporal_spec()
    for state in bundle.manifest.temporal.state:
        assert np.abs(bundle.golden_inputs[state.name]).max() > 0.01
    engine, torch_side = open_engine("onnxruntime", bundle, 1), [Remembered(network), Remembered(network)]
    for frame in range(6):
        batch = crops(bundle, frame)
        found = run_engine(engine, batch)
        for row, amodal in enumerate(found.amodal):
            expected = torch_side[row].step(batch, row)
            assert np.abs(amodal - expected).max() < 1e-4 and np.ptp(expected) > 0.05


def test_the_answer_depends_on_the_memory(tmp_path):
    network = random_network(BOTH)
    exported(network, tmp_path / "m")
    bundle = load_bundle(tmp_path / "m")
    engine, fresh = open_engine("onnxruntime", bundle, 1), open_engine("onnxruntime", bundle, 1)
    run_engine(engine, crops(bundle, 0))
    batch = crops(bundle, 1)
    assert np.abs(run_engine(engine, batch).amodal - run_engine(fresh, batch).amodal).max() > 0.02


def test_two_exports_are_byte_equal_and_tell_how_far_torch_is_over_frames(tmp_path):
    hashes, network = [], random_network(BOTH)
    for name in ("a", "b"):
        difference = exported(network, tmp_path / name)
        manifest = load_bundle(tmp_path / name).manifest
        hashes.append((manifest.graph.sha256, manifest.golden.sha256))
        assert manifest.made["parity_torch_onnxruntime"] == round(difference, 8)
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize("name", ["memory_next", "values_next"])
def test_a_graph_whose_states_differ_from_torch_is_refused(tmp_path, monkeypatch, name):
    real = export._session

    def off(graph: Path) -> export.Step:
        step = real(graph)
        return lambda inputs: {n: a + np.float32(0.01 * (n == name)) for n, a in step(inputs).items()}

    monkeypatch.setattr(export, "_session", off)
    with pytest.raises(ValueError, match="ONNX Runtime differs from torch by"):
        exported(random_network(BOTH), tmp_path / "m")
    assert not (tmp_path / "m").exists()
