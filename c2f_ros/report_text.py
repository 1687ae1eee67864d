"""The report as lines of text, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from c2f_ros.plots import NAMES


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """Frames, accuracy where known, also over time, and latency of what report.json holds."""
    return [*_accuracy(report), *_over_time(report), _frames(report), *_latency(report), *_problems(report)]


def _accuracy(report: Mapping[str, Any]) -> list[str]:
    if not report["accuracy"]:
        return ["no ground truth in the bag, so no accuracy"]
    lines = [f"{'mean IoU, percent':<24}{'whole mask':>12}{'hidden part':>14}"]
    names = {**NAMES, "model": f"ours ({report['model_id']})"}
    for method in ("visible", "hull", "clipped_hull", "model"):
        numbers = report["accuracy"][method]
        lines.append(f"{names[method]:<24}{_number(numbers['miou_full']):>12}{_number(numbers['miou_occ']):>14}")
    return lines


def _over_time(report: Mapping[str, Any]) -> list[str]:
    """One line for each of what was there to be measured."""
    found = report["over_time"]
    if not found:
        return []
    invisible, flicker, ids, order = found["invisible"], found["flicker"]["model"], found["ids"], found["order"]
    lines = []
    if invisible["invisible_frames"]:
        count, objects = invisible["invisible_frames"], invisible["invisible_objects"]
        lines.append(
            f"hidden wholly: mean IoU {_number(invisible['miou_invisible'])} over {count} frames of {objects} objects"
        )
    if flicker["flicker_pairs"]:
        lines.append(
            f"flicker from frame to frame: {_number(flicker['flicker'])} percent of the mask, of the truth's own "
            f"{_number(flicker['flicker_truth'])}"
        )
    if order["order_pairs"]:
        lines.append(
            f"nearer object before the farther one: {_number(order['order_placed'])} percent of {order['order_pairs']} "
            "pairs that overlap"
        )
    return [*lines, f"ids: {ids['id_switches']} switches, {ids['id_takeovers']} takeovers, {ids['id_objects']} objects"]


def _frames(report: Mapping[str, Any]) -> str:
    frames = report["frames"]
    text = ", ".join(f"{frames[key]} {key}" for key in ("seen", "inferred", "skipped", "lost"))
    rest = ", ".join(f"{frames[key]} {key}" for key in ("refused", "failed", "unpaired") if frames[key])
    return f"frames: {frames['in_bag']} in the bag, {text}{', ' + rest if rest else ''}"


def _latency(report: Mapping[str, Any]) -> list[str]:
    latency = report["latency_ms"]
    if not latency:
        return []
    stages = ", ".join(f"{s.replace('_', ' ')} {v['median']:.1f}" for s, v in latency.items() if s != "image_to_result")
    lines = [f"milliseconds per frame (median): {stages}"]
    if "image_to_result" in latency:
        whole = latency["image_to_result"]
        lines.append(f"image received to result published: median {whole['median']:.1f} ms, 95 % {whole['p95']:.1f} ms")
    return lines


def _problems(report: Mapping[str, Any]) -> list[str]:
    return [f"problem: {text}" for text in report["problems"]]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
