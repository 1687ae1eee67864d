"""A part of the results: rows of one kind, for people as a table and for programs as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.measuring import Measured, Ratio

Row = dict[str, Any]
"""Column -> a text, a number, `Measured`, `Ratio`, a dict of these, or None where nothing was measured."""


@dataclass(frozen=True)
class Section:
    """columns: heading of each column that the table shows, by its key in the rows; rows may hold more, which only the
    JSON shows. note: what was measured, and in which unit."""

    key: str
    title: str
    note: str
    columns: dict[str, str]
    rows: list[Row] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {"title": self.title, "note": self.note, "rows": [plain(row) for row in self.rows]}


def plain(value: Any) -> Any:
    """The value made of what JSON knows."""
    if isinstance(value, Measured | Ratio):
        return value.plain()
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return round(value, 4) if isinstance(value, float) else value


def markdown(sections: Sequence[Section], machine: dict[str, Any]) -> str:
    """All tables in one page, after a line about the machine."""
    lines = ["# Benchmarks", "", machine_line(machine), ""]
    for section in sections:
        lines += [f"## {section.title}", "", section.note, "", *table(section), ""]
    return "\n".join(lines).rstrip() + "\n"


def machine_line(machine: dict[str, Any]) -> str:
    """On what, and how busy it was."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    loads = ", ".join(f"{load:.2f}" for load in machine["load_at_start"])
    return (
        f"{machine['cpu']}, {machine['cores']} cores ({' '.join(machine['cpu_flags'])}), {machine['threads']} threads; "
        f"{versions}; commit {machine['git']}. Load before the first measurement: {loads} "
        f"(1, 5, 15 minutes{'; the machine was busy' if machine['was_busy'] else ''})."
    )


def table(section: Section) -> list[str]:
    """The lines of a Markdown table: numbers to the right. One line that says so where there are no rows."""
    if not section.rows:
        return ["Nothing was measured."]
    keys = list(section.columns)
    cells = [[cell(row.get(key)) for key in keys] for row in section.rows]
    is_number = [not any(isinstance(row.get(key), str) for row in section.rows) for key in keys]
    ruler = ["---:" if right else "---" for right in is_number]
    return [_line(section.columns.values()), _line(ruler), *map(_line, cells)]


def cell(value: Any) -> str:
    """Milliseconds and ratios with the range of the middle half of the rounds."""
    if value is None:
        return "–"
    if isinstance(value, Measured):
        low, high = value.quartiles
        return f"{number(value.median)} ({number(low)}–{number(high)})"
    if isinstance(value, Ratio):
        return f"**{number(value.median)}x** ({number(value.low)}–{number(value.high)})"
    return number(value) if isinstance(value, float) else str(value).replace("|", "\\|")


def number(value: float) -> str:
    """Three digits that count, no exponent."""
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:.{digits}f}"


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"
