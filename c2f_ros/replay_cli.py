"""`c2f-replay BAG --model NAME --out DIR`: runs a bag through a model and writes a report.

Offline by default: every frame, as fast as it goes, no ROS needed. With --live through the real node, over DDS, at the
bag's own rate. What DIR then holds is described in `c2f_ros/report.py`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from c2f_ros.bag import BagReader, BagTopics, find_topics
from c2f_ros.bundle import find_model
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
        rate = options.rate if options.live else None
        topics = choose_topics(options.bag, options.image_topic, options.masks_topic)
        if options.live:
            print(f"playing {topics.image} and {topics.masks} through the node ...", flush=True)
        run = run_bag(options.bag, topics, options.out, given_values(options), rate)
        print(f"{run.frames.inferred} of {run.frames.in_bag} frames inferred; writing the report ...", flush=True)
        report = write_report(options.out, options.bag, topics, run)
    except (ContractError, InputError, LiveError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(report_lines(report)))
    print(f"report: {options.out / FILES['html']}   film: {options.out / FILES['film']}")
    return 0


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


def given_values(options: argparse.Namespace) -> dict[str, Any]:
    """The node's parameters that the command line sets, by ROS name. Raises InputError on a malformed one."""
    values: dict[str, Any] = {"model": options.model}
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
