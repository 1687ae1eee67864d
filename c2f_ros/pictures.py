"""Pictures of results for people: a film, and a contact sheet. Both enlarge small images."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from c2f_ros.geometry import EMPTY_BOX, Box, ByteArray
from c2f_ros.overlay import draw_overlay, enlarge
from c2f_ros.records import AmodalFrame

BACKGROUND, TEXT, QUIET = (24, 26, 31), (235, 238, 242), (150, 156, 168)
BAR = 34
"""Rows of the bar with titles above the pictures."""
READABLE = 640
"""Titles are written larger above pictures of more columns than this."""
GAP = 6
FILM_PANEL, WIDE_FILM_PANEL, SHEET_PANEL = 800, 1300, 480
"""Columns that one picture of the film (wide ones are put one below the other), or of the sheet, should have."""
LARGEST_FACTOR = 4
LEGEND = "tinted: seen   hatched: hidden"
MARGIN = 1.15
WIDE = 1.9
"""Images are wide if their width is more than so many times their height."""


def seen_only(frame: AmodalFrame) -> AmodalFrame:
    """The frame as the segmenter gave it: every amodal mask is its visible mask; objects not seen are left out."""
    seen = [dataclasses.replace(item, amodal=item.visible) for item in frame.instances if not item.visible.is_empty]
    return dataclasses.replace(frame, instances=tuple(seen))


def comparable(truth: AmodalFrame, results: Sequence[AmodalFrame]) -> AmodalFrame:
    """The truth without the objects of which nothing is visible, unless one of the results has them."""
    known = {item.track_id for result in results for item in result.instances}
    kept = tuple(item for item in truth.instances if not item.visible.is_empty or item.track_id in known)
    return dataclasses.replace(truth, instances=kept)


def factor_for(width: int, columns: int) -> int:
    """How many times larger to draw a picture of `width` columns so that it has about `columns`, 1 or more."""
    return min(max(1, round(columns / width)), LARGEST_FACTOR)


def picture(rgb: ByteArray, frame: AmodalFrame | None, factor: int) -> ByteArray:
    """The image with the frame drawn (None: as it is), `factor` times larger."""
    if frame is None:
        return rgb if factor == 1 else cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    return draw_overlay(*enlarge(rgb, frame, factor))


def film_picture(rgb: ByteArray, frame: AmodalFrame | None, title: str, note: str) -> ByteArray:
    """One picture of the film: the camera's image, and the result drawn into it; None if there is no result."""
    is_wide = rgb.shape[1] > WIDE * rgb.shape[0]
    factor = factor_for(rgb.shape[1], WIDE_FILM_PANEL if is_wide else FILM_PANEL)
    left, right = picture(rgb, None, factor), picture(rgb, frame, factor)
    titled = [_titled(left, "camera", note), _titled(right, title, LEGEND)]
    return _joined(titled, is_row=not is_wide)


def comparison_picture(
    rgb: ByteArray,
    results: tuple[AmodalFrame | None, AmodalFrame | None],
    truth: AmodalFrame | None,
    titles: Sequence[str],
    note: str,
    has_truth: bool,
) -> ByteArray:
    """One picture of a film of two results: visible masks and, if the recording has any, truth above; both below.

    Without truth all three side by side, wide images one below the other. titles: of the two results.
    """
    first = results[0]
    is_wide = rgb.shape[1] > WIDE * rgb.shape[0]
    factor = factor_for(rgb.shape[1], WIDE_FILM_PANEL if is_wide and not has_truth else FILM_PANEL)
    seen = _titled(picture(rgb, seen_only(first) if first else None, factor), "visible masks", note)
    found = [
        _titled(picture(rgb, result, factor), title, LEGEND) for result, title in zip(results, titles, strict=True)
    ]
    if not has_truth:
        return _joined([seen, *found], is_row=not is_wide)
    true = comparable(truth, [r for r in results if r is not None]) if truth else None
    above = _joined([seen, _titled(picture(rgb, true, factor), "truth", "")], is_row=True)
    return _joined([above, _joined(found, is_row=True)], is_row=False)


class Film:
    """An H.264 film (yuv420p, plays in browsers) being written; pictures may differ in size. A context manager."""

    def __init__(self, path: Path, rate_hz: float, height: int, width: int) -> None:
        """height, width: of the largest picture, in pixels; smaller ones are centred."""
        self._path, self._rate = path, rate_hz
        self._height, self._width = height + height % 2, width + width % 2

    def __enter__(self) -> Film:
        import av

        self._container = av.open(str(self._path), "w", options={"movflags": "+faststart"})
        rate = Fraction(self._rate).limit_denominator(1000)
        self._stream: Any = self._container.add_stream("libx264", rate=rate)
        self._stream.width, self._stream.height, self._stream.pix_fmt = self._width, self._height, "yuv420p"
        self._stream.options = {"crf": "20", "preset": "veryfast"}
        return self

    def add(self, rgb: ByteArray) -> None:
        """Append a picture, uint8 [h, w, 3]."""
        import av

        canvas = _centred(rgb, self._height, self._width)
        self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(canvas, format="rgb24")))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._container.mux(self._stream.encode())
        self._container.close()


def sheet_row(
    rgb: ByteArray, result: AmodalFrame, truth: AmodalFrame | None, has_truth: bool, box: Box
) -> list[ByteArray]:
    """One row of the contact sheet: input, visible masks, result, and truth if the recording has any.

    box: the part of the image to show. Of the truth what `comparable` keeps.
    """
    frames: list[AmodalFrame | None] = [None, seen_only(result), result]
    if has_truth:
        frames.append(comparable(truth, [result]) if truth else None)
    factor = factor_for(box.width, SHEET_PANEL)
    rows, columns = (slice(part.start * factor, part.stop * factor) for part in box.slices)
    return [_fit(picture(rgb, frame, factor)[rows, columns], SHEET_PANEL) for frame in frames]


def region_of_interest(frames: Iterable[AmodalFrame], height: int, width: int) -> Box:
    """The part of an image that holds every mask of `frames` with a margin, at least half of each side."""
    box = EMPTY_BOX
    for frame in frames:
        for item in frame.instances:
            box = box.enclose(item.amodal.box)
    sides = []
    for low, high, length in ((box.x0, box.x1, width), (box.y0, box.y1, height)):
        side = min(length, max(round((high - low) * MARGIN), (length + 1) // 2))
        start = min(max(0, (low + high - side) // 2), length - side)
        sides.append((start, start + side))
    (x0, x1), (y0, y1) = sides
    return Box(x0, y0, x1, y1)


def contact_sheet(rows: Sequence[Sequence[ByteArray]], titles: Sequence[str]) -> ByteArray:
    """uint8 [h, w, 3]: one row of pictures per frame, under the titles of the columns."""
    width = len(titles) * SHEET_PANEL + (len(titles) - 1) * GAP
    bar = np.full((BAR, width, 3), BACKGROUND, np.uint8)
    for column, title in enumerate(titles):
        _write(bar, title, column * (SHEET_PANEL + GAP) + 10, TEXT)
    lines = [_joined(row, is_row=True) for row in rows]
    height = sum(line.shape[0] for line in lines) + GAP * len(lines) + BAR
    out = np.full((height, width, 3), BACKGROUND, np.uint8)
    out[:BAR] = bar
    top = BAR
    for line in lines:
        out[top : top + line.shape[0], : line.shape[1]] = line
        top += line.shape[0] + GAP
    return out[: max(BAR, height - GAP)]


def write_png(path: Path, rgb: ByteArray) -> None:
    """Save uint8 [h, w, 3] as PNG."""
    path.write_bytes(encoded(rgb, ".png"))


def encoded(rgb: ByteArray, suffix: str) -> bytes:
    """The picture as the bytes of a .png or .jpg file."""
    return cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()


def _titled(rgb: ByteArray, title: str, note: str) -> ByteArray:
    """The picture under a bar with a title, and a note at its right if there is room; both grow with the picture."""
    scale = max(1.0, rgb.shape[1] / READABLE)
    bar = np.full((round(BAR * scale), rgb.shape[1], 3), BACKGROUND, np.uint8)
    end = _write(bar, title, round(10 * scale), TEXT, scale)
    note_start = rgb.shape[1] - _text_width(note, scale) - round(10 * scale)
    if note_start > end + 20:
        _write(bar, note, note_start, QUIET, scale)
    return np.vstack([bar, rgb])


def _text_width(text: str, scale: float) -> int:
    return int(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5 * scale, 1)[0][0])


def _write(bar: ByteArray, text: str, column: int, colour: tuple[int, int, int], scale: float = 1.0) -> int:
    """Write in the bar, in place; returns the column where the text ends."""
    place = (column, round(22 * scale))
    cv2.putText(bar, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5 * scale, colour, 1, cv2.LINE_AA)
    return column + _text_width(text, scale)


def _joined(pictures: Sequence[ByteArray], is_row: bool) -> ByteArray:
    gap_shape = (pictures[0].shape[0], GAP, 3) if is_row else (GAP, pictures[0].shape[1], 3)
    gap = np.full(gap_shape, BACKGROUND, np.uint8)
    parts = [part for one in pictures for part in (gap, one)][1:]
    return np.hstack(parts) if is_row else np.vstack(parts)


def _centred(rgb: ByteArray, height: int, width: int) -> ByteArray:
    if rgb.shape[:2] == (height, width):
        return np.ascontiguousarray(rgb)
    out = np.full((height, width, 3), BACKGROUND, np.uint8)
    top, left = (height - rgb.shape[0]) // 2, (width - rgb.shape[1]) // 2
    out[top : top + rgb.shape[0], left : left + rgb.shape[1]] = rgb
    return out


def _fit(rgb: ByteArray, columns: int) -> ByteArray:
    if rgb.shape[1] == columns:
        return rgb
    rows = max(1, round(rgb.shape[0] * columns / rgb.shape[1]))
    how = cv2.INTER_AREA if rgb.shape[1] > columns else cv2.INTER_CUBIC
    return cv2.resize(rgb, (columns, rows), interpolation=how)
