"""python -m common.new_dataset birds --images DIR"""

import argparse
from pathlib import Path

from common.cli import flags
from common.cli.run import Work, run
from common.runtime.paths import REPOSITORY

CELEBA = "torchvision:CelebA"


def main(argv: list[str] | None = None, *, root: Path = REPOSITORY) -> int:
    parser = flags.parser(
        "python -m common.new_dataset",
        "Make a dataset folder with the same scripts as the others, for images of one's own.",
    )
    parser.add_argument("name", help="of the dataset and of its folder: small letters, digits and _")
    flags.add_machine(parser, idle=True)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="a folder of images for each class, below train/ and test/ where the data has these two",
    )
    source.add_argument(
        "--arrays",
        type=Path,
        metavar="FILE",
        help="a .npz with images, uint8 [N, H, W] or [N, H, W, C], labels, integers [N], and perhaps member, bool [N]",
    )
    source.add_argument("--source", choices=[CELEBA], help="what torchvision fetches and has no folder here yet")
    parser.add_argument(
        "--labels",
        choices=("folders", "utkface"),
        default="folders",
        help="what tells the class of --images: their folders, or UTKFace's file names, by race",
    )
    parser.add_argument(
        "--size",
        type=flags.size,
        metavar="H[xW]",
        help="height and width: the middle of each image is cut out in this shape and resized; default: the images' "
        "own, where they have one of at most 256, else 64",
    )
    parser.add_argument(
        "--channels", type=int, choices=(1, 3), help="1 grey, 3 colour; default: grey only where all images are"
    )
    parser.add_argument(
        "--members",
        type=Path,
        metavar="FILE",
        help="a text file that names the training set of a classifier, one path below --images a line, or one number "
        "of --arrays; all others are non-members; default: drawn by the seed",
    )
    return run(parser, argv, lambda options: _prepare(root, options))


def _prepare(root: Path, options: argparse.Namespace) -> Work:
    from common.experiment import new_dataset

    wanted = new_dataset.Wanted(
        name=options.name,
        images=options.images and options.images.absolute(),
        arrays=options.arrays and options.arrays.absolute(),
        labels=options.labels,
        size=options.size,
        channels=options.channels,
        members=options.members,
    )
    return Work(do=lambda: new_dataset.make(root, wanted))
