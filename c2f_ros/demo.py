"""The demonstration: `python -m c2f_ros.demo --out demo_out`, what `make demo` runs.

It draws a scene, writes it into a bag, plays the bag at its own rate through the real node, started as a user would
start it, and writes the report. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from c2f_ros.bag_cli import remove_bag
from c2f_ros.bag_making import BagOptions, BagSummary, write_bag
from c2f_ros.bundle import find_model
from c2f_ros.contract import ContractError, InputError
from c2f_ros.live import NO_ROS, LiveError
from c2f_ros.parameters import default_parameters
from c2f_ros.replay_cli import choose_topics, run_bag
from c2f_ros.report import FILES, write_report
from c2f_ros.report_text import report_lines
from c2f_ros.sources.generated import ClipRequest
from c2f_ros.sources.opening import open_generator

SEED = 21
FRAMES, RATE_HZ = 48, 10.0
HEIGHT, WIDTH = 384, 512
OBJECTS = (9, 12)
ORBIT_DEGREES, ELEVATION = 2.5, (10.0, 16.0)
BAG = "scene"
STAGES = 3


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="c2f-demo", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo_out"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=SEED, help="another number, another scene (default: %(default)s)")
    parser.add_argument("--model", default=default_parameters().model, help="name or folder of a bundle (%(default)s)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run it all. Exit 1, after one sentence, if something is missing or fails."""
    options = make_parser().parse_args(arguments)
    out: Path = options.out
    try:
        if find_spec("rclpy") is None:
            raise ContractError(NO_ROS)
        find_model(options.model)
        with _stage(1, f"drawing scene {options.seed} and writing it into a bag"):
            made = draw_bag(out / BAG, options.seed)
        # Every object of the scene is segmented, so a hidden part can only lie under another object.
        values = {"model": options.model, "hidden_under": "other_instances"}
        topics = choose_topics(out / BAG)
        with _stage(2, f"playing {made.frames} frames, {RATE_HZ:g} per second, through the node"):
            run = run_bag(out / BAG, topics, out, values, rate=1.0)
        with _stage(3, "writing the report"):
            report = write_report(out, out / BAG, topics, run)
    except (ContractError, InputError, LiveError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n" + "\n".join(report_lines(report)))
    print(f"\nfilm:   {out / FILES['film']}\nreport: {out / FILES['html']}")
    return 0


def draw_bag(bag: Path, seed: int) -> BagSummary:
    """Draw a scene and write it into `bag`, replacing an older one. Raises ContractError without the generator."""
    remove_bag(bag)
    request = ClipRequest(seed, FRAMES, HEIGHT, WIDTH, OBJECTS, ORBIT_DEGREES, ELEVATION, movers=True)
    with open_generator(request, RATE_HZ) as source:
        return write_bag(bag, source.frames, BagOptions())


@contextmanager
def _stage(number: int, what: str) -> Iterator[None]:
    print(f"[{number}/{STAGES}] {what} ...", end=" ", flush=True)
    start = time.monotonic()
    try:
        yield
    except BaseException:
        print("failed", flush=True)
        raise
    print(f"{time.monotonic() - start:.1f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
