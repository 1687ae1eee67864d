"""A folder of frames: `rgb/NAME.jpg` or `.png`, `label/NAME.png`, and optionally `classes.json`.

A label image holds one id per pixel, 0 being background; `classes.json` maps ids to class names ({"1": "giraffe"}).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from c2f_ros.contract import InputError
from c2f_ros.records import SourceFrame, SourceObject
from c2f_ros.sources.files import IMAGE_SUFFIXES, read_json, read_labels, read_rgb, require_size, stamp_at
from c2f_ros.sources.parts import RATE_HZ, Part, Refuse


def is_folder(path: Path) -> bool:
    """Whether `path` looks like this layout."""
    return (path / "rgb").is_dir() and (path / "label").is_dir()


def folder_parts(path: Path, split: str, refuse: Refuse) -> list[Part]:
    """The one sequence that the folder is. Raises InputError if a split is asked for."""
    if split:
        raise InputError(f"{path}: this is one sequence, it has no split {split!r}; name the folder above it")
    ids = [f"{path.name}/{image.stem}" for image in _images(path)]
    return [Part(path.name, partial(read_folder, path, RATE_HZ), partial(list, ids), len(ids))]


def _images(path: Path) -> list[Path]:
    return sorted(p for p in (path / "rgb").iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)


def read_folder(path: Path, rate_hz: float) -> Iterator[SourceFrame]:
    """The frames in order of their names; the whole masks are not known.

    Raises InputError naming the file that is missing, broken, or of another size than its image.
    """
    classes = read_json(path / "classes.json") if (path / "classes.json").exists() else {}
    images = _images(path)
    if not images:
        raise InputError(f"{path / 'rgb'}: there is no JPEG or PNG in it; put the frames there")
    for index, image in enumerate(images):
        label = path / "label" / f"{image.stem}.png"
        rgb, labels = read_rgb(image), read_labels(label)
        require_size(label, labels.shape, rgb.shape)
        ids = [int(i) for i in np.unique(labels) if i != 0]
        objects = {i: SourceObject(str(classes.get(str(i), "")), None) for i in ids}
        yield SourceFrame(stamp_at(index, rate_hz), rgb, labels, objects)
