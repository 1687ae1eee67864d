"""`c2f-bag SOURCE --out BAG`: makes a rosbag2 (MCAP) of frames, masks and ground truth."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from c2f_ros.bag_making import BagOptions, write_bag
from c2f_ros.contract import ContractError, InputError
from c2f_ros.records import SourceFrame
from c2f_ros.sources.generated import ClipRequest
from c2f_ros.sources.opening import KINDS, LAYOUTS, OpenSource, open_generator, open_source
from c2f_ros.sources.renamed import with_new_ids

GENERATOR = "generator:"


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="c2f-bag", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("source", help=f"generator:SEED, or a file or folder of one of the layouts {LAYOUTS}")
    parser.add_argument("--out", type=Path, required=True, metavar="BAG", help="folder to make; it must not exist")
    parser.add_argument("--overwrite", action="store_true", help="replace a bag that is at BAG")
    parser.add_argument("--kind", choices=("auto", *KINDS), default="auto", help="layout of SOURCE")
    parser.add_argument("--video", default="0", help="which video of a MOViD-A or FISHBOWL data set")
    parser.add_argument("--rate", type=float, default=10.0, help="frames per second, where SOURCE has no stamps")
    parser.add_argument(
        "--humble", action="store_true", help="bag metadata version 8, for ROS 2 Humble, not 9 for Jazzy"
    )
    parser.add_argument("--compressed", choices=("jpeg", "png"), help="images as CompressedImage")
    parser.add_argument("--as-instances", action="store_true", help="masks as InstanceArray, not as label images")
    parser.add_argument(
        "--new-ids", action="store_true", help="an object that was hidden comes back with another upstream id"
    )
    drawing = parser.add_argument_group("what the generator draws")
    drawing.add_argument("--frames", type=int, default=24)
    drawing.add_argument("--size", type=int, nargs=2, default=[384, 512], metavar=("ROWS", "COLUMNS"))
    drawing.add_argument("--objects", type=int, nargs=2, default=[8, 12], metavar=("FEWEST", "MOST"))
    drawing.add_argument("--orbit-degrees", type=float, default=3.0, help="turn of the camera per frame")
    drawing.add_argument("--elevation", type=float, nargs=2, default=[8.0, 20.0], metavar=("LOWEST", "HIGHEST"))
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Make a bag. Exit 1, after one sentence that names the file, if the source is broken."""
    options = make_parser().parse_args(arguments)
    bag_options = BagOptions("humble" if options.humble else "jazzy", options.compressed or "raw", options.as_instances)
    try:
        if options.overwrite:
            remove_bag(options.out)
        with opened(options) as source:
            frames: Iterable[SourceFrame] = tqdm(source.frames, desc=source.kind, unit="frame", disable=None)
            frames = with_new_ids(frames) if options.new_ids else frames
            made = write_bag(options.out, frames, bag_options)
    except (ContractError, InputError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    truth = f"ground truth in {made.with_truth} of them" if made.with_truth else "no ground truth"
    print(f"{options.out}: {made.frames} frames, {made.objects} objects, {truth} ({source.kind})")
    return 0


@contextmanager
def opened(options: argparse.Namespace) -> Iterator[OpenSource]:
    """The source that the command line names. Raises InputError or ContractError in one sentence."""
    if options.rate <= 0:
        raise InputError(f"--rate is {options.rate:g}, expected more than 0")
    if not options.source.startswith(GENERATOR):
        yield open_source(Path(options.source), options.kind, options.video, options.rate)
        return
    seed = options.source.removeprefix(GENERATOR)
    if not seed.isdecimal():
        raise InputError(f"the seed in {options.source!r} is {seed!r}, expected a whole number, as in generator:7")
    height, width = options.size
    objects, elevation = tuple(options.objects), tuple(options.elevation)
    request = ClipRequest(int(seed), options.frames, height, width, objects, options.orbit_degrees, elevation)
    with open_generator(request, options.rate) as source:
        yield source


def remove_bag(path: Path) -> None:
    """Remove the bag folder `path` if there is one. Raises InputError if something else is there."""
    if path.is_dir() and (path / "metadata.yaml").is_file():
        shutil.rmtree(path)
    elif path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise InputError(f"{path}: this is not a bag folder, it is left as it is; choose another name")
    elif path.exists():
        path.rmdir()


if __name__ == "__main__":
    sys.exit(main())
