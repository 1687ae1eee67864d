"""Which result answers which true object of an image; the rule is that of `score.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from c2f_ros.geometry import PlacedMask, count_common
from c2f_train.scores.evaluation_result import Target, Unseen
from c2f_train.scores.results_file import DecodedEntry


def matched(
    entries: Sequence[DecodedEntry], seen: Sequence[Target], unseen: Sequence[Unseen]
) -> dict[int, DecodedEntry]:
    """The entry that answers each seen object, by the object's position.

    Objects that do not count take part, so that what was meant for them does not answer another.
    """
    objects: list[Target | Unseen] = [*seen, *unseen]
    places = {int(item.key.rsplit("/", 1)[1]): k for k, item in enumerate(objects)}
    found = {places[e.entry.object_id]: e for e in entries if e.entry.object_id is not None}
    left = [k for k in range(len(objects)) if k not in found]
    free = [e for e in entries if e.entry.object_id is None]

    def likeness(k: int, row: int) -> float:
        return _likeness(free[row], objects[left[k]])

    for k, row in greedy_pairs(len(left), len(free), likeness, [e.entry.score for e in free]):
        found[left[k]] = free[row]
    return {k: entry for k, entry in found.items() if k < len(seen)}


def greedy_pairs(
    targets: int, answers: int, likeness: Callable[[int, int], float], scores: Sequence[float]
) -> list[tuple[int, int]]:
    """Pairs of target and answer, most alike first, each used once; of equally alike ones the higher score, then the
    earlier goes first. likeness(target, answer) 0: never a pair."""
    pairs = [(likeness(k, row), scores[row], k, row) for k in range(targets) for row in range(answers)]
    out, used_targets, used_answers = [], set(), set()
    for alike, _, k, row in sorted(pairs, key=lambda p: (-p[0], -p[1], p[3], p[2])):
        if alike > 0 and k not in used_targets and row not in used_answers:
            used_targets.add(k)
            used_answers.add(row)
            out.append((k, row))
    return out


def _likeness(entry: DecodedEntry, item: Target | Unseen) -> float:
    if entry.visible is not None:
        return iou(entry.visible, item.visible)
    return 0.0 if item.truth is None else iou(entry.amodal, item.truth)


def iou(a: PlacedMask, b: PlacedMask) -> float:
    """Intersection over union; 0 of two empty masks."""
    common = count_common(a, b)
    return common / (a.area + b.area - common) if common else 0.0
