"""Sizes and switches of the network. The published model and the small ones are presets of the same classes.

Where the paper and its published code disagree, both are values of a switch; `published` means the code. What is the
default and why is in training/README.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from c2f_ros.contract import MASK_CHANNELS, ContractError, StateSpec, TemporalSpec, state_bytes

PUBLISHED, PAPER = "published", "paper"


def _one_of(value: str, allowed: tuple[str, ...], name: str) -> None:
    if value not in allowed:
        raise ContractError(f"{name} is {value!r}, expected one of {', '.join(allowed)}; correct the configuration")


def _at_least(value: float, least: float, name: str) -> None:
    if not value >= least:
        raise ContractError(f"{name} is {value}, expected at least {least}; correct the configuration")


@dataclass(frozen=True)
class TokenizerConfig:
    """Vector-quantized mask tokenizer (paper section 3.1).

    channels x multipliers: width per level, finest first; the grid is halved between levels. blocks: residual blocks
    per level (one more in the decoder). patch: pixels per side that are folded into channels at the input and unfolded
    at the output (1: none). middle: two more residual blocks at the token grid. norm: `group` or `batch` (folds away).
    z_channels: encoder output; code_dim: code vectors. output: `clamp` (the decoder gives coverage, cut to 0..1) or
    `sigmoid` (it gives logits).
    learning: how codes learn: `gradient`, or `average` (moving averages with `decay`, dead codes restarted).
    commitment, codebook: weights of the two terms of the quantization loss (the published code has 1 and 0.25, the
    paper 0.25 and 1); `codebook` is not used with `average`.
    """

    channels: int
    multipliers: tuple[int, ...]
    blocks: int
    patch: int
    middle: bool
    norm: str
    z_channels: int
    code_dim: int
    codebook_size: int
    output: str
    learning: str
    decay: float
    commitment: float
    codebook: float

    def __post_init__(self) -> None:
        _one_of(self.norm, ("group", "batch"), "tokenizer.norm")
        _one_of(self.output, ("clamp", "sigmoid"), "tokenizer.output")
        _one_of(self.learning, ("gradient", "average"), "tokenizer.learning")
        _at_least(self.codebook_size, 2, "tokenizer.codebook_size")

    @property
    def reduction(self) -> int:
        """Crop pixels per token and side."""
        return self.patch << (len(self.multipliers) - 1)


@dataclass(frozen=True)
class EncoderConfig:
    """Image features: a ResNet, one feature map per stage.

    stem: `imagenet` (7x7 convolution, stride 2, and max pooling) or `unshuffle` (2x2 pixels folded into channels, 3x3
    convolution). block: `bottleneck` (widths are a quarter of a stage's output) or `basic`. widths, blocks, strides:
    per stage. masks: the mask planes enter beside the image. activation: `relu` or `silu`.
    """

    stem: str
    block: str
    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    strides: tuple[int, ...]
    masks: bool
    activation: str

    def __post_init__(self) -> None:
        _one_of(self.stem, ("imagenet", "unshuffle"), "encoder.stem")
        _one_of(self.block, ("bottleneck", "basic"), "encoder.block")
        _one_of(self.activation, ("relu", "silu"), "encoder.activation")
        if not len(self.widths) == len(self.blocks) == len(self.strides) >= 2:
            raise ContractError(
                f"encoder has {len(self.widths)} widths, {len(self.blocks)} blocks and {len(self.strides)} strides; "
                "give one of each per stage, two stages or more"
            )

    @property
    def outputs(self) -> tuple[int, ...]:
        """Channels per stage."""
        return tuple(w * (4 if self.block == "bottleneck" else 1) for w in self.widths)

    @property
    def reductions(self) -> tuple[int, ...]:
        """Crop pixels per cell and side, per stage."""
        reduction, found = (4 if self.stem == "imagenet" else 2), []
        for stride in self.strides:
            reduction *= stride
            found.append(reduction)
        return tuple(found)


@dataclass(frozen=True)
class TransformerConfig:
    """Mask-and-predict transformer (paper section 3.2).

    vocabulary: amodal token ids; the next one is [MASK]. join: image features, visible and amodal token of a cell are
    put together along `channels` (published code: half, a quarter, a quarter of `dim`) or as a `sequence` of three
    tokens per cell (paper, figure 2). image_kernel: of the convolution that projects the image features.
    temporal: the spatio-temporal block of the video model, attention over (window, space, space) cells; roll: frames
    are shifted by half a window after every block (paper section 3.5).
    """

    dim: int
    layers: int
    heads: int
    vocabulary: int
    join: str
    image_kernel: int
    dropout: float
    temporal: bool
    window: int
    space: int
    roll: bool

    def __post_init__(self) -> None:
        _one_of(self.join, ("channels", "sequence"), "transformer.join")
        _at_least(self.window, 1, "transformer.window")
        if self.dim % self.heads or self.dim % 4:
            raise ContractError(
                f"transformer.dim is {self.dim}, expected a multiple of 4 and of its {self.heads} heads; correct it"
            )
        if self.temporal and self.join == "sequence":
            raise ContractError("transformer.join is 'sequence', the temporal block needs 'channels'; choose one")


@dataclass(frozen=True)
class RefinerConfig:
    """Convolutional refiner (paper section 3.4).

    adapter: width of the projected top features (published: 256). widths: trunk, then one per doubling of the grid.
    shared: how many grids both branches share, coarsest first, of as many as there are
    widths (all: only the heads differ). blocks: residual blocks per doubling. branches: `both` (amodal and
    visible) or `amodal`. attention: `published`, `paper` (eq. 8), `scaled` (the published form with 1/sqrt(d), mean 1)
    or `none`. coarse_cells: coarse mask on the token grid, by `corner` (published: top-left pixel) or `mean`.
    hidden: the transformer's last hidden states enter the trunk. join_coarse: the coarse mask enters again at the
    finest grid. head: `convolution` (one channel, the grid as it is) or `shuffle` (twice the grid).
    enabled: without it the coarse mask is the result (paper table 3).
    """

    enabled: bool
    adapter: int
    widths: tuple[int, ...]
    shared: int
    blocks: int
    branches: str
    attention: str
    coarse_cells: str
    hidden: bool
    join_coarse: bool
    head: str
    activation: str

    def __post_init__(self) -> None:
        _one_of(self.branches, ("both", "amodal"), "refiner.branches")
        _one_of(self.attention, (PUBLISHED, PAPER, "scaled", "none"), "refiner.attention")
        _one_of(self.coarse_cells, ("corner", "mean"), "refiner.coarse_cells")
        _one_of(self.head, ("convolution", "shuffle"), "refiner.head")
        _one_of(self.activation, ("relu", "silu"), "refiner.activation")
        if not 0 <= self.shared <= len(self.widths):
            raise ContractError(f"refiner.shared is {self.shared}, there are {len(self.widths)} widths; correct it")


@dataclass(frozen=True)
class InferenceConfig:
    """Mask-and-predict (paper section 3.3). steps: K. top_k: most likely tokens that are considered (0: all).
    temperature: of the Gumbel noise on confidences. confidence: `published` (log-probability, known tokens infinite) or
    `paper` (probability, known tokens 1, no noise). decode: `hard` (chosen tokens) or `soft` (expected code vectors).
    output: `refined`, or `sum` (published video model: refined plus coarse, halved). threshold: above which probability
    the refined output is mask; intersection over union is best below one half where a model is often unsure."""

    steps: int
    top_k: int
    temperature: float
    confidence: str
    decode: str
    output: str
    threshold: float = 0.5

    def __post_init__(self) -> None:
        _at_least(self.steps, 1, "inference.steps")
        if not 0 < self.threshold < 1:
            raise ContractError(f"inference.threshold is {self.threshold}, expected between 0 and 1; correct it")
        _one_of(self.confidence, (PUBLISHED, PAPER), "inference.confidence")
        _one_of(self.decode, ("hard", "soft"), "inference.decode")
        _one_of(self.output, ("refined", "sum"), "inference.output")


@dataclass(frozen=True)
class MemoryConfig:
    """What a streaming network keeps of an object (our own; the published model sees whole clips).

    result: its own last probabilities come back as an input. features: channels of a gated memory at half the crop's
    resolution, written by the refiner. Both lie over the object's crop and are moved along with it.
    ring: frames of keys and values that every block of the transformer attends to besides the newest frame's, inside
    the same local windows of (transformer.space)^2 cells; 0: none. cached: keys and values of the `first` pass (all
    tokens masked) or of the `last` of the K steps. warm: frames after which the memory counts as warm.
    """

    result: bool = False
    features: int = 0
    ring: int = 0
    cached: str = "first"
    warm: int = 8

    def __post_init__(self) -> None:
        _one_of(self.cached, ("first", "last"), "memory.cached")
        for name in ("features", "ring"):
            _at_least(getattr(self, name), 0, f"memory.{name}")
        _at_least(self.warm, 1, "memory.warm")

    @property
    def channels(self) -> int:
        """Of the aligned state: the result folded 2x2, where there is a memory at all, and the features."""
        return (4 if self.result else 0) + 1 + self.features if self.result or self.features else 0


NO_MEMORY = MemoryConfig()


@dataclass(frozen=True)
class NetworkConfig:
    """A whole network. mask_channels: planes of the input, the visible mask first. memory: of a streaming network."""

    crop_size: int
    mask_channels: tuple[str, ...]
    tokenizer: TokenizerConfig
    encoder: EncoderConfig
    transformer: TransformerConfig
    refiner: RefinerConfig
    inference: InferenceConfig
    memory: MemoryConfig = NO_MEMORY

    def __post_init__(self) -> None:
        self._check_memory()
        if self.mask_channels[:1] != ("visible",) or set(self.mask_channels) - set(MASK_CHANNELS):
            raise ContractError(
                f"network.mask_channels is {list(self.mask_channels)}, expected 'visible' and after it any of "
                f"{', '.join(MASK_CHANNELS[1:])}; correct the configuration"
            )
        tokens, cells = self.tokenizer.reduction, self.encoder.reductions[-1]
        if tokens != cells or self.crop_size % tokens:
            raise ContractError(
                f"one token covers {tokens} pixels, one feature cell {cells}, the crop has {self.crop_size}; "
                "make the first two equal and a divisor of the third"
            )
        if self.tokenizer.codebook_size > self.transformer.vocabulary:
            raise ContractError(
                f"the codebook has {self.tokenizer.codebook_size} codes, transformer.vocabulary is "
                f"{self.transformer.vocabulary}; it must not be smaller"
            )
        if self.transformer.temporal and self.grid % self.transformer.space:
            raise ContractError(
                f"transformer.space is {self.transformer.space}, the token grid has {self.grid}; choose a divisor"
            )

    def _check_memory(self) -> None:
        memory, refiner = self.memory, self.refiner
        if not self.is_stream:
            return
        if self.transformer.temporal:
            raise ContractError("transformer.temporal is set beside a memory; choose a window or a memory")
        if memory.ring and (self.transformer.join == "sequence" or self.grid % self.transformer.space):
            raise ContractError(
                f"memory.ring needs transformer.join 'channels' and a transformer.space that divides the grid of "
                f"{self.grid}; found {self.transformer.join!r} and {self.transformer.space}"
            )
        is_whole = refiner.enabled and refiner.shared == len(refiner.widths) and self.encoder.stem == "unshuffle"
        if memory.channels and not (is_whole and self.encoder.strides[0] == 1 and refiner.join_coarse):
            raise ContractError(
                "memory.result and memory.features need encoder.stem 'unshuffle' with a first stride of 1 and a "
                "refiner whose grids are all shared, with join_coarse; change them, or use memory.ring alone"
            )

    @property
    def is_stream(self) -> bool:
        """Whether the network has a memory of its own."""
        return bool(self.memory.channels or self.memory.ring)

    def temporal_spec(self) -> TemporalSpec:
        """How the runtime has to treat time, for the manifest."""
        if not self.is_stream:
            return TemporalSpec("window" if self.frames > 1 else "image", self.frames)
        memory, half, state = self.memory, self.crop_size // 2, []
        if memory.channels:
            state.append(StateSpec("memory", "aligned", (memory.channels, half, half)))
        if memory.ring:
            shape = (self.transformer.layers, self.grid**2, self.transformer.dim)
            state += [StateSpec(name, "ring", shape) for name in ("keys", "values")]
        window = memory.ring or memory.warm
        return TemporalSpec("stream", window, tuple(state), state_bytes(tuple(state), window))

    @property
    def grid(self) -> int:
        """Tokens per side."""
        return self.crop_size // self.tokenizer.reduction

    @property
    def reads_cells(self) -> bool:
        """Whether of the coarse mask only one pixel per token reaches the result, as in the published image model."""
        refiner, inference = self.refiner, self.inference
        is_corner = refiner.enabled and refiner.coarse_cells == "corner" and not refiner.join_coarse
        is_refined = inference.output == "refined" and inference.decode == "hard"
        return is_corner and is_refined and not self.is_stream

    @property
    def mask_threshold(self) -> float:
        """Above which the amodal output is mask: half of it is the coarse mask where `inference.output` is `sum`."""
        if self.inference.output == "sum" and self.refiner.enabled:
            return 0.5 * self.inference.threshold
        return self.inference.threshold

    @property
    def frames(self) -> int:
        """Observations per object that the network looks at."""
        return self.transformer.window if self.transformer.temporal else 1


@dataclass(frozen=True)
class UNetConfig:
    """The plain U-Net of equal compute: same input, same blocks, no tokens, no transformer."""

    crop_size: int
    widths: tuple[int, ...]
    blocks: int
    bottleneck_blocks: int
    mask_channels: tuple[str, ...] = MASK_CHANNELS
