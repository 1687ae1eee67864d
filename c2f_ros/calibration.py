"""What a model's graphs are given while a bag is played through it: the samples that int8 is fitted to."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from c2f_ros.bag import BagReader, find_topics
from c2f_ros.bundle import Arrays, Bundle
from c2f_ros.contract import GraphSpec, InputError
from c2f_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from c2f_ros.parameters import make_parameters
from c2f_ros.pipeline import SLOTS_PER_OBJECT, Pipeline
from c2f_ros.replay import replay_offline

MOST_SAMPLES = 64
"""Calls that are kept of each graph, drawn evenly from the whole bag."""
MOST_ROWS = 4
MOST_BYTES = 512 << 20
"""Of all samples of one graph."""


class Recorder:
    """Keeps the inputs of an even draw of all calls of each graph, whatever their number; the same draw every time."""

    def __init__(self) -> None:
        self.samples: dict[str, list[Arrays]] = {}
        self._calls: dict[str, int] = {}
        self._random = random.Random(0)

    def __call__(self, spec: GraphSpec, inputs: Arrays) -> None:
        """To be called before each run of a graph."""
        kept, count = self.samples.setdefault(spec.file, []), self._calls.get(spec.file, 0)
        self._calls[spec.file] = count + 1
        place = self._random.randrange(count + 1)
        if len(kept) < MOST_SAMPLES:
            kept.append(_some_rows(inputs))
        elif place < MOST_SAMPLES:
            kept[place] = _some_rows(inputs)


def recorded_samples(bundle: Bundle, bag: Path, threads: int = 1) -> dict[str, list[Arrays]]:
    """By graph file, inputs of calls that the bundle's model made on the bag, in float32 on the CPU.

    Raises InputError if the bag is broken or holds no object, ContractError if the model does not run.
    """
    with BagReader(bag) as reader:
        topics = find_topics(reader.topic_types, "", "")
    parameters, recorder = make_parameters({"model": str(bundle.folder)}), Recorder()
    engine = OnnxRuntimeEngine(bundle, threads, SLOTS_PER_OBJECT * parameters.max_objects, watch=recorder)
    with tempfile.TemporaryDirectory() as folder:
        replay_offline(bag, topics, Pipeline(bundle, engine, parameters), Path(folder) / "result.mcap")
    missing = [graph.file for graph in bundle.manifest.graphs if not recorder.samples.get(graph.file)]
    if missing:
        raise InputError(f"{bag} made the model run on no object; give a bag with masks of objects")
    return recorder.samples


def _some_rows(inputs: Arrays) -> Arrays:
    """A copy of the first objects, as many as the bound on memory leaves."""
    row_bytes = sum(array[:1].nbytes for array in inputs.values())
    rows = max(1, min(MOST_ROWS, MOST_BYTES // MOST_SAMPLES // max(row_bytes, 1)))
    return {name: array[:rows].copy() for name, array in inputs.items()}
