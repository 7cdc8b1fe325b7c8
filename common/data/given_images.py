"""Images that a user has: a folder for each class, or arrays in an .npz file; raw uint8 from here on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torchvision.datasets.folder import IMG_EXTENSIONS, find_classes, make_dataset
from torchvision.transforms.v2.functional import center_crop, pil_to_tensor, resize

from common.runtime import progress
from common.runtime.errors import UserError
from common.runtime.images import Labelled

Size = tuple[int, int]
"""Height and width."""


def classes_of(*folders: Path) -> list[str]:
    """The names of the class folders in one or several trees, sorted. Raises UserError where one has none."""
    found: set[str] = set()
    for folder in folders:
        try:
            found |= set(find_classes(str(folder))[0])
        except OSError as error:
            raise UserError(f"{folder}: expected a folder with one folder of images for each class: {error}") from error
    return sorted(found)


def read_folder(root: Path, classes: Sequence[str], *, size: Size | None = None) -> Labelled:
    """Images uint8 [n, C, H, W] of a tree ROOT/CLASS/…, in the order of their paths; labels are places in ``classes``.

    size:  that all are brought to (see ``fit``); None takes them as they are, which must be of one size

    Grey images stay grey where all are. Raises UserError naming a class that is unknown, or the file that is no image.
    """
    unknown = sorted(set(classes_of(root)) - set(classes))
    if unknown:
        raise UserError(f"{root}: class {unknown[0]} is none of {', '.join(classes[:20])}")
    places = {name: place for place, name in enumerate(classes) if (root / name).is_dir()}
    try:
        listed = make_dataset(str(root), places, extensions=IMG_EXTENSIONS)
    except OSError as error:  # a class folder without images
        raise UserError(f"{root}: {error}") from error
    images = []
    with progress.bar(total=len(listed), unit="image", desc=f"read {root.name}") as bar:
        for path, _ in listed:
            images.append(fit(read_image(Path(path)), size))
            bar.update()
    channels = max(len(image) for image in images)
    images = [image.expand(channels, -1, -1) for image in images]
    for (path, _), image in zip(listed, images, strict=True):
        if image.shape != images[0].shape:
            raise UserError(
                f"{path} is {_said(image)}, and {listed[0][0]} is {_said(images[0])}: give the size that your "
                "classifier takes (--size 64, --size 218x178)"
            )
    return Labelled(torch.stack(images), torch.tensor([label for _, label in listed]))


def read_image(path: Path) -> torch.Tensor:
    """An image as uint8 [C, H, W], grey or red, green and blue, turned as its EXIF says. Raises UserError naming it."""
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith(("I", "F")):
                raise ValueError(f"it has more than 8 bits a channel (mode {image.mode})")
            return pil_to_tensor(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))
    except Exception as error:  # whatever a hostile file provokes, a decompression bomb among it
        raise UserError(f"{path}: no readable image: {error}") from error


def fit(image: torch.Tensor, size: Size | None) -> torch.Tensor:
    """Bring uint8 [C, H, W] to a size: bilinear with antialiasing until it covers it, then the middle is cut out."""
    if size is None or tuple(image.shape[1:]) == tuple(size):
        return image
    scale = max(wanted / there for wanted, there in zip(size, image.shape[1:], strict=True))
    covering = [max(wanted, round(there * scale)) for wanted, there in zip(size, image.shape[1:], strict=True)]
    return center_crop(resize(image, covering, antialias=True), list(size))


def fit_all(images: torch.Tensor, size: Size | None) -> torch.Tensor:
    """``fit`` for images [n, C, H, W] of one size."""
    return torch.stack([fit(image, size) for image in images])


def read_arrays(path: Path) -> Labelled:
    """An .npz file with images uint8 [n, H, W] or [n, H, W, C], C being 1 or 3, and labels [n].

    Raises UserError naming the file and what does not fit.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            images, labels = file["images"], file["labels"]
        if images.dtype != np.uint8 or images.ndim not in (3, 4) or not len(images):
            raise ValueError(f"images: expected uint8 [n, H, W] or [n, H, W, C], found {images.dtype} {images.shape}")
        images = images[..., None] if images.ndim == 3 else images
        if images.shape[-1] not in (1, 3):
            raise ValueError(f"images {images.shape}: expected 1 or 3 channels in the last place")
        if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
            raise ValueError(f"labels: expected whole numbers [{len(images)}], found {labels.dtype} {labels.shape}")
        return Labelled(
            torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))),
            torch.from_numpy(labels.astype(np.int64)),
        )
    except Exception as error:  # whatever a hostile file provokes
        raise UserError(f"{path}: {error}") from error


def _said(image: torch.Tensor) -> str:
    return f"{image.shape[1]}x{image.shape[2]}" + (" in colour" if len(image) == 3 else " in grey")
