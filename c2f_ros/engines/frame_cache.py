"""Window models in two graphs: what one of them makes of a single frame is kept as long as the frame is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from c2f_ros.bundle import Arrays
from c2f_ros.contract import EngineError, Manifest, TensorSpec
from c2f_ros.crops import filled_sizes, frame_inputs
from c2f_ros.engines import Graph
from c2f_ros.engines.checks import broken_masks, broken_rows
from c2f_ros.geometry import FloatArray
from c2f_ros.records import Batch, MaskProbabilities, Observation

Sizes = tuple[int, int]
"""Rows and columns of the crop that an observation's cut fills (`crops.filled_sizes`)."""
Place = Any
"""Where one frame is kept: the storage's own affair. It becomes free when nobody holds the place any more."""


class FrameStorage(Protocol):
    """Runs both graphs, and keeps what the first makes of frames: on the host, or where the graphs run.

    is_seen: the first graph's outputs come to the host, and are checked there.
    """

    is_seen: bool

    @property
    def free(self) -> int:
        """Frames for which there is room now."""
        ...

    def make(self, image: FloatArray, masks: FloatArray, newest: int) -> list[Place]:
        """Run the first graph on single frames, image [F, 3, S, S] and masks [F, M, S, S], F at most `free`: the places
        of what it made of them. The first `newest` are the newest of each object, of which `finish` needs more.
        Raises EngineError."""
        ...

    def finish(self, windows: Sequence[Sequence[Place]]) -> FloatArray:
        """Amodal maps [N, S, S] of N full windows, oldest frame first, whose newest frames were made just before."""
        ...


class TwoGraphs:
    """The graphs of a window model, with what the second takes of the first: of all frames, or of the newest alone."""

    def __init__(self, frame_graph: Graph, graph: Graph, manifest: Manifest) -> None:
        assert manifest.frame_graph is not None
        self.frame_graph, self.graph, self._spec = frame_graph, graph, manifest.frame_graph
        made = {tensor.name: tensor for tensor in self._spec.outputs}
        self.taken = [made[tensor.name] for tensor in manifest.graph.inputs]
        self.of_all = kept_of_frames(manifest)
        self.of_newest = [t for t in self.taken if t not in self.of_all]

    def frames(self, image: NDArray[Any], masks: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """The first graph's outputs of single frames [F, ...]. Raises EngineError if one is not finite."""
        count, names = len(image), [tensor.name for tensor in self.taken]
        step = self._spec.batch_limit or count
        parts = [
            self.frame_graph({"image": image[k : k + step], "masks": masks[k : k + step]}, names)
            for k in range(0, count, step)
        ]
        found = {name: np.concatenate([part[name] for part in parts]) for name in names}
        if broken_rows("the frame graph", self.taken, found, count):
            raise EngineError("the frame graph returned values that are not finite; nothing is kept")
        return found

    def whole(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """`amodal` of whole windows, image [N, T, 3, S, S] and masks [N, T, M, S, S], keeping nothing."""
        image, masks = inputs["image"], inputs["masks"]
        rows, kept = image.shape[:2], {tensor.name for tensor in self.of_all}
        found = self.frames(image.reshape(-1, *image.shape[2:]), masks.reshape(-1, *masks.shape[2:]))
        every = {name: array.reshape(*rows, *array.shape[1:]) for name, array in found.items()}
        return self.graph({n: a if n in kept else np.ascontiguousarray(a[:, -1]) for n, a in every.items()}, ["amodal"])


class HostFrames:
    """Frames in numpy arrays, as many as there are observations."""

    is_seen = True
    free = 1 << 62

    def __init__(self, graphs: TwoGraphs) -> None:
        self.graphs = graphs
        self._newest: dict[str, NDArray[Any]] = {}

    def make(self, image: FloatArray, masks: FloatArray, newest: int) -> list[Place]:
        found = self.graphs.frames(image, masks)
        self._newest = {tensor.name: found[tensor.name][:newest] for tensor in self.graphs.of_newest}
        return [{t.name: found[t.name][row].copy() for t in self.graphs.of_all} for row in range(len(image))]

    def finish(self, windows: Sequence[Sequence[Place]]) -> FloatArray:
        names = [tensor.name for tensor in self.graphs.of_all]
        stacked = {name: np.stack([[frame[name] for frame in window] for window in windows]) for name in names}
        newest, self._newest = self._newest, {}
        return self.graphs.graph(newest | stacked, ["amodal"])["amodal"]


class CachedWindow:
    """Runs the first graph on the frames that it has not seen yet, and the second on all objects' windows.

    What is kept belongs to an observation and goes with it: when the window drops it, nobody else holds it. A frame of
    a stretched window is resampled, and so computed again, when the window's common scale has changed. Where there is
    room for fewer frames than observations, those that were made first are forgotten, and computed again when needed.
    """

    def __init__(self, graphs: TwoGraphs, manifest: Manifest, storage: FrameStorage | None = None) -> None:
        self._graphs = graphs
        self._storage: FrameStorage = HostFrames(graphs) if storage is None else storage
        self._crop, self._input, self._window = manifest.crop, manifest.input, manifest.temporal.window
        self.reset()

    def run(self, batch: Batch) -> MaskProbabilities:
        count = len(batch.image)
        if len(batch.windows) != count:
            raise ValueError(f"{count} rows have {len(batch.windows)} windows; give each row its own")
        windows = [window[-self._window :] for window in batch.windows]
        sizes = [filled_sizes(window, self._crop) for window in windows]
        older = self._unknown(windows, sizes)
        image, masks = batch.image, batch.masks
        if older:
            more = frame_inputs(list(older), list(older.values()), self._crop, self._input)
            image, masks = np.concatenate([image, more[0]]), np.concatenate([masks, more[1]])
        newest = [(window[-1], fills[-1]) for window, fills in zip(windows, sizes, strict=True)]
        made = [*newest, *older.items()]
        self._make_room([observation for observation, _ in made], windows)
        places = self._storage.make(image, masks, count)
        for (observation, fill), place in zip(made, places, strict=True):
            self._kept[observation] = fill, place
        del places
        full = [[window[0]] * (self._window - len(window)) + list(window) for window in windows]
        amodal = self._storage.finish([[self._kept[observation][1] for observation in window] for window in full])
        if not self._storage.is_seen:
            self._check_masks(windows, amodal)
        return MaskProbabilities(amodal)

    def compute(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Both graphs on whole windows, image [N, T, 3, S, S] and masks [N, T, M, S, S], past the cache."""
        return self._graphs.whole(inputs)

    def keep(self, serials: Collection[int]) -> None:
        """What is kept goes with the observations it belongs to."""

    def reset(self) -> None:
        self._kept: WeakKeyDictionary[Observation, tuple[Sizes, Place]] = WeakKeyDictionary()

    def state_bytes(self) -> tuple[int, int]:
        """What is kept belongs to frames, not to objects."""
        return 0, 0

    def __len__(self) -> int:
        """Frames kept."""
        return len(self._kept)

    def _unknown(
        self, windows: Sequence[Sequence[Observation]], sizes: Sequence[Sequence[Sizes]]
    ) -> dict[Observation, Sizes]:
        """Frames before the newest that are not kept at the size they have now."""
        found = {}
        for window, fills in zip(windows, sizes, strict=True):
            for observation, fill in zip(window[:-1], fills[:-1], strict=True):
                if self._kept.get(observation, (None,))[0] != fill:
                    found[observation] = fill
        return found

    def _make_room(self, made: Sequence[Observation], windows: Sequence[Sequence[Observation]]) -> None:
        """Forget what is made anew, and then, as far as there is no room, what this batch does not need."""
        for observation in made:
            self._kept.pop(observation, None)
        if self._storage.free >= len(made):
            return
        needed = {observation for window in windows for observation in window}
        for observation in [one for one in self._kept if one not in needed]:
            if self._storage.free >= len(made):
                return
            self._kept.pop(observation, None)

    def _check_masks(self, windows: Sequence[Sequence[Observation]], amodal: FloatArray) -> None:
        """Raises EngineError if a mask is not finite; its frames are forgotten, one of them may be why."""
        broken = broken_masks(amodal)
        for row in broken:
            for observation in windows[row]:
                self._kept.pop(observation, None)
        if broken:
            raise EngineError(
                f"the graph returned masks that are not finite for {len(broken)} objects; nothing is kept"
            )


def kept_of_frames(manifest: Manifest) -> list[TensorSpec]:
    """What the first graph makes of a frame and the second wants of all frames of a window, shapes [N, ...]."""
    made = {tensor.name: tensor for tensor in manifest.frame_graph.outputs} if manifest.frame_graph else {}
    return [made[tensor.name] for tensor in manifest.graph.inputs if tensor != made.get(tensor.name, tensor)]
