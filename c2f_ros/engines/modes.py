"""What goes on around a graph, by the manifest's temporal mode: nothing, states of objects, or cached frames.

An engine's file brings the graphs as functions; nothing here knows a library.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from c2f_ros.bundle import Arrays
from c2f_ros.contract import EngineError, Manifest
from c2f_ros.engines import Graph
from c2f_ros.engines.checks import broken_masks, broken_rows, check_amodal
from c2f_ros.engines.frame_cache import CachedWindow, FrameStorage, TwoGraphs
from c2f_ros.geometry import FloatArray
from c2f_ros.object_memory import ObjectMemory, StateStorage
from c2f_ros.records import Batch, MaskProbabilities


class Mode(Protocol):
    """As `steps.step6_engine.Engine`, but for what belongs to the library."""

    def run(self, batch: Batch) -> MaskProbabilities: ...

    def compute(self, inputs: Arrays) -> dict[str, NDArray[Any]]: ...

    def keep(self, serials: Collection[int]) -> None: ...

    def reset(self) -> None: ...

    def state_bytes(self) -> tuple[int, int]: ...


def make_mode(
    manifest: Manifest,
    graphs: Sequence[Graph],
    slots: int,
    states: StateStorage | None = None,
    frames: FrameStorage | None = None,
) -> Mode:
    """What runs this model's graphs, given in the order of `Manifest.graphs`; slots: objects remembered at most, in
    `states`; frames: of window models in two graphs (without either: on the host)."""
    if manifest.temporal.mode == "stream":
        return Streaming(graphs[-1], manifest, slots, states)
    if manifest.frame_graph is not None:
        return CachedWindow(TwoGraphs(graphs[0], graphs[1], manifest), manifest, frames)
    return Plain(graphs[-1])


class ModeEngine:
    """What all engines have in common: they hand on to their mode what concerns the memory of objects."""

    def __init__(
        self,
        manifest: Manifest,
        graphs: Sequence[Graph],
        slots: int,
        states: StateStorage | None = None,
        frames: FrameStorage | None = None,
    ) -> None:
        """As `make_mode`."""
        self._mode = make_mode(manifest, graphs, slots, states, frames)

    def keep(self, serials: Collection[int]) -> None:
        self._mode.keep(serials)

    def reset(self) -> None:
        self._mode.reset()

    def state_bytes(self) -> tuple[int, int]:
        return self._mode.state_bytes()


class HostEngine(ModeEngine):
    """An engine whose graphs take and give arrays of the host; a subclass adds `name`. A call takes as many objects as
    the manifest allows: these libraries do not say beforehand what memory a call will need."""

    def __init__(self, manifest: Manifest, graphs: Sequence[Graph], slots: int) -> None:
        super().__init__(manifest, graphs, slots)
        self._limit = manifest.graph.batch_limit

    def run(self, batch: Batch) -> MaskProbabilities:
        return joined([self._mode.run(batch.part(rows)) for rows in self._calls(len(batch.image))])

    def compute(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        calls = self._calls(len(inputs["image"]))
        found = [self._mode.compute({name: array[rows] for name, array in inputs.items()}) for rows in calls]
        return found[0] if len(found) == 1 else {n: np.concatenate([one[n] for one in found]) for n in found[0]}

    def close(self) -> None:
        del self._mode

    def _calls(self, count: int) -> list[slice]:
        """The rows of each call."""
        step = self._limit or count
        return [slice(first, first + step) for first in range(0, count, step)]


def joined(found: Sequence[MaskProbabilities]) -> MaskProbabilities:
    """What several calls found, at least one, as if they had been one."""
    if len(found) == 1:
        return found[0]
    return MaskProbabilities(*(np.concatenate([getattr(one, name) for one in found]) for name in ("amodal", "frames")))


class Plain:
    """Image models, and window models that see all frames anew: nothing is kept."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def run(self, batch: Batch) -> MaskProbabilities:
        return MaskProbabilities(self.compute({"image": batch.image, "masks": batch.masks})["amodal"])

    def compute(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        return self._graph(inputs, ["amodal"])

    def keep(self, serials: Collection[int]) -> None:
        """Nothing is kept."""

    def reset(self) -> None:
        """Nothing is kept."""

    def state_bytes(self) -> tuple[int, int]:
        return 0, 0


class Streaming:
    """Models of mode `stream`: every object's states go in, and what comes out is kept once it is checked: the states
    themselves where they come to the host, else the mask that they go with."""

    def __init__(self, graph: Graph, manifest: Manifest, slots: int, states: StateStorage | None = None) -> None:
        self._graph, self._size = graph, manifest.crop.size
        self.memory = ObjectMemory(manifest.temporal, slots, states)
        names = {f"{state.name}_next" for state in manifest.temporal.state}
        self._kept = [tensor for tensor in manifest.graph.outputs if tensor.name in names]

    def run(self, batch: Batch) -> MaskProbabilities:
        count = len(batch.image)
        if len(batch.serials) != count or len(set(batch.serials)) != count:
            raise ValueError(f"{count} rows have serials {batch.serials}; give each row one of its own")
        inputs = {"image": batch.image, "masks": batch.masks, **self.memory.inputs(batch)}
        if self.memory.states.is_seen:
            found = self.compute(inputs)
            check_amodal("the graph", found["amodal"], count, self._size)
            self._check_states(batch, found)
        else:
            found = self._graph(inputs, ["amodal"])
            self._check_masks(batch, found["amodal"])
            check_amodal("the graph", found["amodal"], count, self._size)
        frames = np.array([self.memory.frames(serial) + 1 for serial in batch.serials], np.int64)
        self.memory.write(batch, found)
        return MaskProbabilities(found["amodal"], frames)

    def compute(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        return self._graph(inputs, ["amodal", *(tensor.name for tensor in self._kept)])

    def keep(self, serials: Collection[int]) -> None:
        self.memory.keep(serials)

    def reset(self) -> None:
        self.memory.reset()

    def state_bytes(self) -> tuple[int, int]:
        return self.memory.used_bytes, self.memory.nbytes

    def _check_states(self, batch: Batch, found: dict[str, NDArray[Any]]) -> None:
        """Raises EngineError if a state is not as it should be. An object whose own states are not finite begins anew:
        its memory may be what they come from, and would fail every frame from now on."""
        broken = broken_rows("the graph", self._kept, found, len(batch.serials))
        if broken:
            for row in broken:
                self.memory.forget(batch.serials[row])
            raise EngineError(
                f"the graph returned states that are not finite for {len(broken)} objects; they are reset"
            )

    def _check_masks(self, batch: Batch, amodal: FloatArray) -> None:
        """Raises EngineError if a mask is not finite. Its object begins anew: states that nobody sees may be why."""
        broken = broken_masks(amodal)
        for row in broken:
            self.memory.forget(batch.serials[row])
        if broken:
            raise EngineError(f"the graph returned masks that are not finite for {len(broken)} objects; they are reset")
