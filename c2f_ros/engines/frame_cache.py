"""Window models in two graphs: what one of them makes of a single frame is kept as long as the frame is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from c2f_ros.bundle import Arrays
from c2f_ros.contract import EngineError, Manifest
from c2f_ros.crops import filled_sizes, frame_inputs
from c2f_ros.engines import Graph
from c2f_ros.engines.checks import broken_rows
from c2f_ros.records import Batch, MaskProbabilities, Observation

Sizes = tuple[int, int]
"""Rows and columns of the crop that an observation's cut fills (`crops.filled_sizes`)."""


class CachedWindow:
    """Runs `frame_graph` on the frames that it has not seen yet, and `graph` on all objects' windows.

    What is kept belongs to an observation and goes with it: when the window drops it, nobody else holds it. A frame of
    a stretched window is resampled, and so computed again, when the window's common scale has changed.
    """

    def __init__(self, frame_graph: Graph, graph: Graph, manifest: Manifest) -> None:
        assert manifest.frame_graph is not None
        self._frame_graph, self._graph, self._spec = frame_graph, graph, manifest.frame_graph
        self._crop, self._input, self._window = manifest.crop, manifest.input, manifest.temporal.window
        made = {tensor.name: tensor for tensor in self._spec.outputs}
        self._outputs = [made[tensor.name] for tensor in manifest.graph.inputs]
        self._of_all = {t.name for t in manifest.graph.inputs if t != made[t.name]}
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
        found = self._frames(image, masks)
        newest = [(window[-1], fills[-1]) for window, fills in zip(windows, sizes, strict=True)]
        for row, (observation, fill) in enumerate([*newest, *older.items()]):
            self._kept[observation] = fill, {name: found[name][row].copy() for name in self._of_all}
        inputs = {t.name: found[t.name][:count] for t in self._outputs if t.name not in self._of_all}
        return MaskProbabilities(self._finish(inputs | self._stacked(windows))["amodal"])

    def compute(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Both graphs on whole windows, image [N, T, 3, S, S] and masks [N, T, M, S, S], past the cache."""
        image, masks = inputs["image"], inputs["masks"]
        rows = image.shape[:2]
        found = self._frames(image.reshape(-1, *image.shape[2:]), masks.reshape(-1, *masks.shape[2:]))
        whole = {name: array.reshape(*rows, *array.shape[1:]) for name, array in found.items()}
        return self._finish({n: a if n in self._of_all else np.ascontiguousarray(a[:, -1]) for n, a in whole.items()})

    def keep(self, serials: Collection[int]) -> None:
        """What is kept goes with the observations it belongs to."""

    def reset(self) -> None:
        self._kept: WeakKeyDictionary[Observation, tuple[Sizes, Arrays]] = WeakKeyDictionary()

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

    def _stacked(self, windows: Sequence[Sequence[Observation]]) -> dict[str, NDArray[Any]]:
        """The inputs [N, T, ...] of the second graph; a short window repeats its oldest frame in front."""
        full = [[window[0]] * (self._window - len(window)) + list(window) for window in windows]
        kept = [[self._kept[observation][1] for observation in window] for window in full]
        return {name: np.stack([[frame[name] for frame in window] for window in kept]) for name in self._of_all}

    def _frames(self, image: NDArray[Any], masks: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """The first graph's outputs of single frames [F, ...]. Raises EngineError if one is not finite."""
        count, names = len(image), [tensor.name for tensor in self._outputs]
        step = self._spec.batch_limit or count
        parts = [
            self._frame_graph({"image": image[k : k + step], "masks": masks[k : k + step]}, names)
            for k in range(0, count, step)
        ]
        found = {name: np.concatenate([part[name] for part in parts]) for name in names}
        if broken_rows("the frame graph", self._outputs, found, count):
            raise EngineError("the frame graph returned values that are not finite; nothing is kept")
        return found

    def _finish(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        return self._graph(inputs, ["amodal"])
