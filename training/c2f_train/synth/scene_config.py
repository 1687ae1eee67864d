"""Every knob of the clutter generator."""

from __future__ import annotations

from dataclasses import dataclass

from c2f_train.synth.shapes import family_names


@dataclass(frozen=True)
class SceneConfig:
    """Every knob of the generator; lengths in world units, in which an object of scale 1 has longest side 1."""

    height: int = 256
    width: int = 256
    families: str = "train"
    objects_min: int = 10
    objects_max: int = 20
    sparse_fraction: float = 0.1
    """Share of clips with few objects, sparse_min to sparse_max, spread out."""
    sparse_min: int = 3
    sparse_max: int = 8
    scale_min: float = 0.6
    scale_max: float = 1.6
    spacing: float = 1.1
    """Distance of neighbours over the sum of their radii; below 1 they may touch."""
    tumbled_fraction: float = 0.15
    """Share of objects lying on their side or leaning."""
    living_fraction: float = 0.0
    """Share of clips with jointed animals and people, thin things and a backdrop, besides the other families."""
    movers_fraction: float = 0.0
    """Share of clips in which some objects move."""
    movers_min: int = 1
    movers_max: int = 4
    elevation_min_degrees: float = 3.0
    elevation_max_degrees: float = 15.0
    orbit_degrees_per_frame: float | tuple[float, float] = 15.0
    """How far the camera travels around the cluster between frames, or the range from which each clip draws it; its
    sign is drawn for each clip."""
    still_fraction: float = 0.0
    """Share of clips whose camera does not move at all; the shares below are of the others."""
    pan_fraction: float = 0.0
    """Share of clips in which the camera also turns back and forth, so that the whole image shifts."""
    pan_degrees: tuple[float, float] = (0.1, 2.0)
    """Greatest turn per frame, drawn for each clip; of the default view, a degree is 5 pixels in 256."""
    shake_fraction: float = 0.0
    shake_degrees: tuple[float, float] = (0.04, 0.4)
    """Standard deviation of the direction in which a shaky camera looks."""
    approach_fraction: float = 0.0
    approach_share: tuple[float, float] = (0.003, 0.015)
    """Greatest change of the distance per frame of a camera that comes nearer and goes back, as a share of it."""
    distance_min: float = 4.4
    distance_max: float = 6.2
    """Of the camera from the middle of the cluster."""
    field_of_view_degrees: float = 50.0
    """Of the longer image side."""
    supersample: int = 1
    """Colour samples per pixel side, 1 or 2; masks are always taken at pixel centres."""
    fps: float = 12.0

    def __post_init__(self) -> None:
        family_names(self.families)
        self._check_range("objects", self.objects_min, self.objects_max, 1, 60)
        self._check_range("sparse", self.sparse_min, self.sparse_max, 1, 60)
        self._check_range("movers", self.movers_min, self.movers_max, 1, 60)
        self._check_range("scale", self.scale_min, self.scale_max, 0.05, 20)
        self._check_range("elevation degrees", self.elevation_min_degrees, self.elevation_max_degrees, 0.5, 89)
        self._check_range("distance", self.distance_min, self.distance_max, 0.5, 100)
        for name in ("sparse", "tumbled", "living", "movers", "still", "pan", "shake", "approach"):
            share = getattr(self, f"{name}_fraction")
            self._check_range(f"{name}_fraction", share, share, 0, 1)
        if isinstance(self.orbit_degrees_per_frame, tuple):
            if len(self.orbit_degrees_per_frame) != 2:
                raise ValueError(f"orbit_degrees_per_frame is {self.orbit_degrees_per_frame}, expected 1 or 2 numbers")
            self._check_range("orbit_degrees_per_frame", *self.orbit_degrees_per_frame, 0, 180)
        self._check_range("pan_degrees", *self.pan_degrees, 0.001, 20)
        self._check_range("shake_degrees", *self.shake_degrees, 0, 20)
        self._check_range("approach_share", *self.approach_share, 0.0001, 0.5)
        self._check_range("spacing", self.spacing, self.spacing, 0.1, 10)
        self._check_range("field_of_view_degrees", self.field_of_view_degrees, self.field_of_view_degrees, 5, 150)
        self._check_range("height and width", min(self.height, self.width), max(self.height, self.width), 8, 4096)
        self._check_range("fps", self.fps, self.fps, 0.01, 10000)
        if self.supersample not in (1, 2):
            raise ValueError(f"supersample is {self.supersample}, expected 1 or 2")

    @staticmethod
    def _check_range(name: str, low: float, high: float, least: float, most: float) -> None:
        if not least <= low <= high <= most:
            raise ValueError(f"{name}: found {low} to {high}, expected {least} <= min <= max <= {most}")
