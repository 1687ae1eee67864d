"""`c2f-replay BAG --model NAME --out DIR`: runs a bag through a model and writes a report.

Offline by default: every frame, as fast as it goes, no ROS needed. With --live through the real node, over DDS, at the
bag's own rate. What DIR then holds is described in `c2f_ros/report.py`. With --compare A B two models run over the same
bag, one after the other, and DIR shows them side by side (`c2f_ros/comparison.py`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from c2f_ros.bag import BagReader, BagTopics, find_topics
from c2f_ros.bundle import find_model
from c2f_ros.comparison import FILES as COMPARISON
from c2f_ros.comparison import SIDES, write_comparison
from c2f_ros.comparison_page import comparison_lines
from c2f_ros.contract import ContractError, InputError
from c2f_ros.live import LiveError, replay_live
from c2f_ros.parameters import default_parameters, make_parameters
from c2f_ros.pipeline import open_pipeline
from c2f_ros.replay import Run, replay_offline
from c2f_ros.report import FILES, write_report
from c2f_ros.report_text import report_lines
from c2f_ros.steps.step7_paste import HIDDEN_UNDER


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="c2f-replay", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bag", type=Path, metavar="BAG", help="rosbag2 folder, .mcap or .db3 file")
    parser.add_argument("--model", default=default_parameters().model, help="name or folder of a bundle (%(default)s)")
    parser.add_argument("--compare", nargs=2, metavar=("A", "B"), help="two bundles to compare, instead of --model")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the report goes")
    parser.add_argument("--live", action="store_true", help="through the real node, at the bag's own rate")
    parser.add_argument("--rate", type=float, default=1.0, help="speed of --live (%(default)s: the bag's own)")
    parser.add_argument("--hidden-under", choices=HIDDEN_UNDER, help="the node's parameter hidden_under")
    parser.add_argument(
        "-p", "--param", action="append", default=[], metavar="NAME=VALUE", help="another parameter of the node"
    )
    parser.add_argument("--image-topic", default="", help="default: found by its name or type")
    parser.add_argument("--masks-topic", default="", help="default: found by its name or type")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Replay and report. Exit 1, after one sentence, if the bag, the model or the node does not work."""
    options = make_parser().parse_args(arguments)
    try:
        topics = choose_topics(options.bag, options.image_topic, options.masks_topic)
        lines = _compare(options, topics) if options.compare else _replay(options, topics)
    except (ContractError, InputError, LiveError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


def _replay(options: argparse.Namespace, topics: BagTopics) -> list[str]:
    """One model over the bag, its report, and what to print of it."""
    run = _run(options, topics, options.model, options.out)
    report = write_report(options.out, options.bag, topics, run)
    place = f"report: {options.out / FILES['html']}   film: {options.out / FILES['film']}"
    return [*report_lines(report), place]


def _compare(options: argparse.Namespace, topics: BagTopics) -> list[str]:
    """Both models over the bag, the comparison, and what to print of it."""
    for model in options.compare:
        find_model(model)
    first, second = (
        _run(options, topics, model, options.out / side) for model, side in zip(options.compare, SIDES, strict=True)
    )
    comparison = write_comparison(options.out, options.bag, topics, (first, second))
    place = f"comparison: {options.out / COMPARISON['html']}   film: {options.out / COMPARISON['film']}"
    return [*comparison_lines(comparison), place]


def _run(options: argparse.Namespace, topics: BagTopics, model: str, out: Path) -> Run:
    if options.live:
        print(f"playing {topics.image} and {topics.masks} through the node ...", flush=True)
    rate = options.rate if options.live else None
    run = run_bag(options.bag, topics, out, given_values(options, model), rate)
    print(f"{run.frames.inferred} of {run.frames.in_bag} frames inferred; writing the report ...", flush=True)
    return run


def choose_topics(bag: Path, image: str = "", masks: str = "") -> BagTopics:
    """The bag's topics to use; see `find_topics`."""
    with BagReader(bag) as reader:
        return find_topics(reader.topic_types, image, masks)


def run_bag(bag: Path, topics: BagTopics, out: Path, values: dict[str, Any], rate: float | None) -> Run:
    """Replay, live at `rate` or offline if None, and write result.mcap into the folder `out`.

    values: the node's parameters that are set, by ROS name. Raises ContractError, InputError or LiveError.
    """
    parameters = make_parameters(values)
    out.mkdir(parents=True, exist_ok=True)
    result = out / FILES["result"]
    if rate is None:
        return replay_offline(bag, topics, open_pipeline(parameters), result)
    folder = find_model(parameters.model)
    model = str(folder.resolve()) if Path(parameters.model).is_dir() else parameters.model
    return replay_live(bag, topics, {**values, "model": model}, parameters.hidden_under, result, rate)


def given_values(options: argparse.Namespace, model: str) -> dict[str, Any]:
    """The node's parameters that the command line sets, by ROS name. Raises InputError on a malformed one."""
    values: dict[str, Any] = {"model": model}
    if options.hidden_under:
        values["hidden_under"] = options.hidden_under
    for text in options.param:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--param is {text!r}, expected NAME=VALUE, as in max_objects=8")
        values[name] = yaml.safe_load(value)
    return values


if __name__ == "__main__":
    sys.exit(main())
