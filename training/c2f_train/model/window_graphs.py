"""The video model in two parts: what it makes of a single frame, and what it makes of a whole window.

One after the other they are `C2FNetwork.infer`; the first part's results can be kept from frame to frame.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from c2f_train.model.network import C2FNetwork, newest

EMBEDDED, VISIBLE = "embedded", "visible_tokens"
"""Names of what is kept of every frame: the image part of the embedding, and the tokens of the visible mask."""


def used_features(network: C2FNetwork) -> tuple[int, ...]:
    """The encoder's levels that the refiner looks at, of the newest frame alone; finest first."""
    if network.refiner is None:
        return ()
    last = len(network.config.encoder.outputs) - 1
    return tuple(sorted({source for source in network.refiner.sources if source is not None} | {last}))


class FrameGraph(nn.Module):
    """image [F, 3, S, S], masks [F, M, S, S] of single frames -> embedded [F, L, width], visible tokens [F, L], and the
    feature levels that `used_features` lists."""

    def __init__(self, network: C2FNetwork) -> None:
        super().__init__()
        self.network, self.levels = network, used_features(network)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the outputs, in order."""
        return EMBEDDED, VISIBLE, *(f"features_{level}" for level in self.levels)

    def forward(self, image: Tensor, masks: Tensor) -> tuple[Tensor, ...]:
        features = self.network.features(image, masks)
        embedded = self.network.transformer.embed_image(features[-1])
        return embedded, self.network.tokenizer.encode(masks[:, :1]), *(features[level] for level in self.levels)


class WindowGraph(nn.Module):
    """embedded [N, T, L, width] and visible tokens [N, T, L] of windows, oldest frame first, and the newest frame's
    feature levels -> what `C2FNetwork.infer` gives."""

    def __init__(self, network: C2FNetwork) -> None:
        super().__init__()
        self.network, self.levels = network, used_features(network)

    def forward(self, embedded: Tensor, visible: Tensor, *features: Tensor) -> tuple[Tensor, ...]:
        network, config, frames = self.network, self.network.config, self.network.config.frames
        embedded = embedded.reshape(-1, *(int(size) for size in embedded.shape[2:]))
        steps, hidden = network.complete_from(embedded, visible.reshape(-1, int(visible.shape[2])), frames)
        every: list[Tensor] = [hidden.new_zeros(0)] * len(config.encoder.outputs)
        for level, feature in zip(self.levels, features, strict=True):
            every[level] = feature
        last, _, hidden = newest(steps[-1], [], hidden, frames)
        return network.conclude(last, every, hidden)


def window_inputs(made: Mapping[str, Tensor], frames: int) -> dict[str, Tensor]:
    """The second part's inputs from the first one's outputs of the frames of clips [N * frames, ...]."""
    clips = {name: x.unflatten(0, (-1, frames)) for name, x in made.items()}
    return {name: x if name in (EMBEDDED, VISIBLE) else x[:, -1] for name, x in clips.items()}
