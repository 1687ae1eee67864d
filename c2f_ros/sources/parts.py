"""What a data set is made of: parts, one per video or photograph, read only when they are iterated."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from c2f_ros.contract import InputError
from c2f_ros.records import SourceFrame

RATE_HZ = 10.0
"""Frame rate given to data sets without stamps; accuracy does not depend on it."""

Refuse = Callable[[InputError], None]
"""Is told of every file, or entry of a file, that cannot be used."""

_SPLIT_WORD = re.compile(r"(?<![a-z])(train|val|test)(?:ing)?(?![a-z])")


@dataclass(frozen=True)
class Part:
    """One sequence, unread. name: unique within its data set. read: its frames, one decoded at a time; InputError at
    the first broken file. image_ids: what results files call its frames, in their order. frames: how many there are,
    None where finding out means reading the files."""

    name: str
    read: Callable[[], Iterator[SourceFrame]]
    image_ids: Callable[[], Sequence[str]]
    frames: int | None = None


def raise_refused(error: InputError) -> None:
    """The `Refuse` that stops at the first broken file."""
    raise error


def split_word(text: str) -> str:
    """train, val or test, whichever stands last as a word of its own in `text` ("training" counts); "" if none does."""
    found = _SPLIT_WORD.findall(text.lower())
    return found[-1] if found else ""


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """A key that sorts names by the numbers in them: 2 before 10."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name))
