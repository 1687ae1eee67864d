"""The data sets that training samples are cut from: descriptions that travel to worker processes, opened there once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from c2f_ros.records import SourceFrame
from c2f_train.data.sequences import GENERATED, open_sequences
from c2f_train.data_config import TRUTH, DataConfig


@dataclass(frozen=True)
class Source:
    """A data set, as `open_sequences` takes it. results: of predicted visible masks, None for the true ones."""

    path: Path
    split: str = ""
    kind: str = "auto"
    results: Path | None = None


def training_sources(data: DataConfig, work: Path) -> list[Source]:
    """What a configuration trains on: its generated sets, in folders of `work`, and its recorded ones."""
    generated = [Source(work / about.name, kind=GENERATED) for about in data.train]
    recorded = [
        Source(Path(about.path), about.split, about.kind, None if about.visible == TRUTH else Path(about.visible))
        for about in data.recorded
    ]
    return generated + recorded


def track_sources(data: DataConfig, work: Path) -> list[Source]:
    """The sequences that a model with memory is trained on."""
    return training_sources(replace(data, train=data.tracks), work)


def sequence_names(source: Source) -> list[str]:
    """The names of a data set's sequences as they are on the disk now. Raises InputError if it cannot be opened."""
    _sequences.cache_clear()
    return [name for name, _ in _sequences(source)]


def read_sequence(source: Source, index: int) -> Iterable[SourceFrame]:
    """The frames of a data set's sequence. What cannot be read is named on stderr and left out."""
    return _sequences(source)[index][1]


@lru_cache(maxsize=64)
def _sequences(source: Source) -> list[tuple[str, Iterable[SourceFrame]]]:
    return list(open_sequences(source.path, source.split, source.kind, source.results))
