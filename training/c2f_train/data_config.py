"""Configuration of the data: which sets are generated, which are recorded, how samples are cut and augmented."""

from __future__ import annotations

from dataclasses import dataclass

from c2f_ros.contract import ContractError

SCENES = ("clutter", "driving")
TRUTH = "truth"
FRACTIONS = (
    "sparse_fraction",
    "living_fraction",
    "movers_fraction",
    "still_fraction",
    "pan_fraction",
    "shake_fraction",
    "approach_fraction",
)
"""Shares of a set's clips; they have the same names in the generator's configuration."""


@dataclass(frozen=True)
class SetConfig:
    """One generated set: `clips` clips of `frames` frames in the folder `name` of the work folder.

    scene: `clutter` (objects on a plane, the camera circles them) or `driving` (a street seen from a moving car).
    Of `clutter` alone: families `train`, `held_out` or `all`; orbit_degrees: camera motion per frame, one number, or
    two from whose range each clip draws; elevation_degrees: range of the camera's; shares of the clips:
    sparse_fraction with few objects, living_fraction with jointed animals and people and thin things, movers_fraction
    in which some objects move, still_fraction whose camera does not move; pan_fraction, shake_fraction,
    approach_fraction: of the others, in which it turns back and forth, shakes, comes nearer and goes back.
    Of `driving` alone: rate_hz, frames per second. weight: how often its tracks are drawn, against 1 (memory stage).
    """

    name: str
    clips: int
    frames: int
    seed: int
    scene: str = "clutter"
    families: str = "train"
    orbit_degrees: float | tuple | list = 15.0
    elevation_degrees: tuple[float, float] = (3.0, 15.0)
    sparse_fraction: float = 0.0
    living_fraction: float = 0.0
    movers_fraction: float = 0.0
    still_fraction: float = 0.0
    pan_fraction: float = 0.0
    shake_fraction: float = 0.0
    approach_fraction: float = 0.0
    rate_hz: float = 10.0
    weight: float = 1.0

    def __post_init__(self) -> None:
        _require(bool(self.name) and "/" not in self.name, "name", self.name, "the name of a folder")
        _require(self.scene in SCENES, f"{self.name}.scene", self.scene, " or ".join(SCENES))
        _require(self.clips >= 1, f"{self.name}.clips", self.clips, "at least 1")
        _require(self.frames >= 1, f"{self.name}.frames", self.frames, "at least 1")
        for key in ("rate_hz", "weight"):
            _require(getattr(self, key) > 0, f"{self.name}.{key}", getattr(self, key), "a positive number")
        self._check_orbit()
        for key in FRACTIONS:
            _require(0 <= getattr(self, key) <= 1, f"{self.name}.{key}", getattr(self, key), "0 to 1")
        others: tuple[str, ...] = ("rate_hz",)
        if self.scene == "driving":
            others = ("families", "orbit_degrees", "elevation_degrees", *FRACTIONS)
        for key in others:
            found, default = getattr(self, key), type(self).__dataclass_fields__[key].default
            _require(found == default, f"{self.name}.{key}", found, f"to be left out where scene is {self.scene}")

    def _check_orbit(self) -> None:
        """Make a range that came as a list a tuple, and check it."""
        found = self.orbit_degrees
        if isinstance(found, (list, tuple)):
            numbers = len(found) == 2 and all(type(one) in (int, float) for one in found)
            holds = numbers and 0 <= found[0] <= found[1]
            _require(holds, f"{self.name}.orbit_degrees", found, "a number, or two rising numbers from 0")
            object.__setattr__(self, "orbit_degrees", tuple(float(one) for one in found))


@dataclass(frozen=True)
class RecordedConfig:
    """A data set on disk, in any layout that `c2f_train.data.sequences` reads.

    split: such as `train`; empty: all of it. kind: a layout's name, or `auto`. visible: where the visible masks come
    from, `truth` or the path of a results file (COCO format).
    """

    path: str
    split: str = ""
    kind: str = "auto"
    visible: str = TRUTH


@dataclass(frozen=True)
class DataConfig:
    """Sets of clips and how samples are cut from the training sets: the generated ones of `train` and `recorded`.

    min_visible_pixels: with fewer an object counts as unseen. scale_jitter, shift_jitter: random change of the crop's
    side and centre, as a share of the side. unsegmented_fraction: share of tracks for which a random subset of the
    other objects (half of the time: all) is missing from the `others` plane. scale_range: least and greatest crop scale
    of the tokenizer's samples, drawn for each (published: 1.5, 3); empty: it is trained on the network's samples.
    tracks: sets of a model with memory, whole clips; `recorded` ones are added.
    """

    train: tuple[SetConfig, ...]
    min_visible_pixels: int
    scale_jitter: float
    shift_jitter: float
    unsegmented_fraction: float
    validation: tuple[SetConfig, ...] = ()
    test: tuple[SetConfig, ...] = ()
    held_out: tuple[SetConfig, ...] = ()
    recorded: tuple[RecordedConfig, ...] = ()
    scale_range: tuple[float, ...] = ()
    tracks: tuple[SetConfig, ...] = ()

    def __post_init__(self) -> None:
        names = [about.name for about in self.generated]
        twice = sorted({name for name in names if names.count(name) > 1})
        _require(not twice, "the sets' names", twice, "a name of its own for each")
        _require(bool(self.train or self.recorded), "train", [], "a generated or a recorded set")
        _require(0 <= self.scale_jitter < 2, "scale_jitter", self.scale_jitter, "0 to below 2")
        _require(self.shift_jitter >= 0, "shift_jitter", self.shift_jitter, "0 or more")
        _require(0 <= self.unsegmented_fraction <= 1, "unsegmented_fraction", self.unsegmented_fraction, "0 to 1")
        bounds = self.scale_range
        holds = not bounds or (len(bounds) == 2 and 1 <= bounds[0] <= bounds[1])
        _require(holds, "scale_range", list(bounds), "nothing, or two rising numbers from 1")

    @property
    def generated(self) -> tuple[SetConfig, ...]:
        """All generated sets."""
        return self.train + self.tracks + self.validation + self.test + self.held_out


@dataclass(frozen=True)
class UnrollConfig:
    """How tracks are drawn for a model with memory.

    frames: through which a track is followed at most; the last `graded` are trained, none to all of those before
    them are there to fill the memory. forget_share: of the trained frames, those before which a track's memory is
    emptied. stride: every n-th frame is taken, n up to this; gap_share: chance of a longer step. ragged_tracks:
    share of tracks whose visible masks are changed as `augment` says. fault_share: share of tracks with a
    segmenter's faults (`upstream.py`). lost_share: share of tracks whose measured motion is wrong, by up to
    `lost_by` of the crop's side in a frame. whole_share: share of tracks whose crops contain what a model might
    have taken for the whole object in the frame before, as the runtime's do (crop rule `followed`).
    unsegmented_fraction, scale_jitter, shift_jitter: as in `DataConfig`.
    """

    frames: int
    graded: int
    stride: int
    gap_share: float
    ragged_tracks: float
    fault_share: float
    lost_share: float
    lost_by: float
    unsegmented_fraction: float
    scale_jitter: float
    shift_jitter: float
    forget_share: float = 0.0
    whole_share: float = 0.0

    def __post_init__(self) -> None:
        _require(1 <= self.graded <= self.frames, "unroll.graded", self.graded, f"1 to {self.frames} (unroll.frames)")
        _require(self.stride >= 1, "unroll.stride", self.stride, "at least 1")
        shares = (
            "gap_share",
            "ragged_tracks",
            "fault_share",
            "lost_share",
            "unsegmented_fraction",
            "forget_share",
            "whole_share",
        )
        for key in (*shares, "lost_by"):
            _require(0 <= getattr(self, key) <= 1, f"unroll.{key}", getattr(self, key), "0 to 1")


@dataclass(frozen=True)
class AugmentConfig:
    """What is done to the samples of a batch; the truth changes by the flip alone.

    flip: share of clips that are mirrored. The other shares are of visible masks at the network's input, at most one of
    them is done to a mask. ragged: grown, shrunk or with a wavy border. Published (spec 12.6): blur: blurred and cut at
    one half; morphology: one to four rectangles, `dilate` of them grow the mask, the others shrink it, with chance
    `blur_after` of a blur after each.
    """

    flip: float
    ragged: float
    blur: float = 0.0
    morphology: float = 0.0
    dilate: float = 0.5
    blur_after: float = 0.0

    def __post_init__(self) -> None:
        for key in ("flip", "ragged", "blur", "morphology", "dilate", "blur_after"):
            _require(0 <= getattr(self, key) <= 1, f"augment.{key}", getattr(self, key), "0 to 1")
        together = self.ragged + self.blur + self.morphology
        _require(together <= 1 + 1e-9, "augment: ragged, blur and morphology together", together, "at most 1")


def _require(holds: bool, key: str, found: object, expected: str) -> None:
    if not holds:
        raise ContractError(f"{key} is {found!r}, expected {expected}; correct the configuration")
