"""Image files: which there are, of which class, and their pixels at the size that networks take."""

import re
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps
from torchvision.datasets.folder import IMG_EXTENSIONS

from common.data.pool import Pool
from common.runtime.errors import UserError
from common.runtime.images import Size, sides

GREY = ("1", "L", "LA", "I;16", "I;16B", "I;16L", "I")
LYING = (5, 6, 7, 8)  # values of an EXIF orientation, of images that are turned by a quarter
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
UTKFACE = re.compile(r"\d+_[01]_(\d)_\d+\.jpg(\.chip\.jpg)?")  # age, gender, race, date and time
RACES = ("White", "Black", "Asian", "Indian")  # 0 to 3; the paper's four classes leave out 4, all others


def of_folders(root: Path) -> Pool:
    """A class for each folder, in alphabetical order; of train/ and test/, where these two are there.

    Raises UserError where there are no images, or a class of the test set is none of the training set.
    """
    parts = [root / "train", root / "test"] if all((root / name).is_dir() for name in ("train", "test")) else [root]
    classes = sorted(path.name for path in _listed(parts[0]) if path.is_dir() and not path.name.startswith("."))
    found: list[tuple[Path, int]] = []
    counts = []
    for part in parts:
        unknown = {path.name for path in _listed(part) if path.is_dir() and not path.name.startswith(".")}
        if unknown - set(classes):
            raise UserError(f"{part}: class {min(unknown - set(classes))} has no folder in {parts[0]}")
        before = len(found)
        for label, name in enumerate(classes):
            found += [(path, label) for path in _images(part / name)]
        counts.append(len(found) - before)
    if len(classes) < 2 or not all(counts):
        raise UserError(f"{root}: expected a folder of images for each of two classes or more: {root}/CLASS/NAME.png")
    empty = set(range(len(classes))) - {label for _, label in found[: counts[0]]}
    if empty:
        raise UserError(f"{parts[0] / classes[min(empty)]} has no images ({', '.join(IMG_EXTENSIONS)})")
    return of_files(root, found, classes, training=counts[0] if len(parts) == 2 else None)


def of_utkface(root: Path) -> Pool:
    """UTKFace by race: files age_gender_race_date.jpg anywhere below; those of race 4 (others), or named otherwise, are
    left out. Raises UserError where none is left.
    """
    races = [(path, UTKFACE.fullmatch(path.name)) for path in _images(root)]
    found = [(path, int(race[1])) for path, race in races if race and int(race[1]) < len(RACES)]
    if not found:
        raise UserError(f"{root}: no files named as UTKFace's, such as 26_0_1_20170116184024662.jpg")
    return of_files(root, found, RACES)


def of_files(
    root: Path, found: Sequence[tuple[Path, int]], classes: Sequence[str], *, training: int | None = None
) -> Pool:
    """Files below a folder with their labels. Raises UserError where a name cannot stand on a line of a list."""
    paths = [path for path, _ in found]
    names = [path.relative_to(root).as_posix() for path in paths]
    for name in names:
        written = name.encode(errors="replace").decode()
        if written.splitlines() != [name]:
            raise UserError(f"{root}: {name!a} is not one line of UTF-8, as names of images must be: rename the file")
    states = [path.stat() for path in paths]
    return Pool(
        names=names,
        labels=np.array([label for _, label in found], dtype=np.int64),
        classes=classes,
        training=training,
        listing=[[name, state.st_size, state.st_mtime_ns] for name, state in zip(names, states, strict=True)],
        look=lambda number: look(paths[number]),
        read=lambda number, channels, size: read(paths[number], channels, size),
    )


def look(path: Path) -> tuple[int, int, int]:
    """Channels (1 grey, 3 colour), height and width, upright, from the head of the file: no pixel is read.

    Raises UserError naming a file that is no image.
    """
    with _opened(path) as image:
        height, width = image.height, image.width
        if image.getexif().get(ExifTags.Base.Orientation) in LYING:
            height, width = width, height
        return (1 if image.mode in GREY else 3), height, width


def read(path: Path, channels: int, size: Size) -> np.ndarray:
    """An image as uint8 [C, H, W], upright, the middle of it cut out in the shape of ``size`` and resized to that.

    Transparency is dropped.

    Raises UserError naming a file that is broken, larger than any picture, or of 32-bit pixels.
    """
    height, width = sides(size)
    with _opened(path) as image:
        if image.mode.startswith("I;16"):
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        elif image.mode in ("I", "F"):
            raise ValueError("its pixels have 32 bits")
        upright = ImageOps.exif_transpose(image).convert("L" if channels == 1 else "RGB")
        if upright.size != (width, height):
            upright = ImageOps.fit(upright, (width, height), Image.Resampling.BILINEAR)  # antialiased
        pixels = np.asarray(upright)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Whatever a hostile or broken file provokes, also later in the block, becomes a UserError that names it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                yield image
    except (OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, struct.error, MemoryError, OverflowError,
            Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # fmt: skip
        raise UserError(f"{path}: no image that can be read ({error}): mend it or take it away") from error


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder}: not a folder that can be read ({error.strerror})") from error


def _images(folder: Path) -> list[Path]:
    """All below a folder, in the order of their names; hidden ones are passed over."""
    if not folder.is_dir():
        return []
    found = (path for path in folder.rglob("*") if path.suffix.lower() in IMG_EXTENSIONS and path.is_file())
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))
