"""CelebA through torchvision: three attributes, each there or not, as eight classes.

The paper does not say which three it takes. These are ML-Doctor's (Liu et al., USENIX Security 2022):
Heavy_Makeup, Mouth_Slightly_Open, Smiling.
"""

import itertools
from pathlib import Path

from torchvision import datasets as tv

from common.data import pictures
from common.data.pool import Pool
from common.runtime.errors import UserError

ATTRIBUTES = ("Heavy_Makeup", "Mouth_Slightly_Open", "Smiling")
SIZE = (218, 178)  # height and width of the aligned images


def pool(folder: Path) -> Pool:
    """All aligned images in ``folder``/celeba, fetched where they are missing.

    Raises UserError where they cannot be had, with where to put them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        found = tv.CelebA(str(folder), split="all", target_type="attr", download=True)
    except (OSError, RuntimeError, ImportError, ValueError) as error:
        raise UserError(
            f"CelebA could not be fetched ({error}): get {', '.join(name for _, _, name in tv.CelebA.file_list)} from "
            f"https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html, put them into {folder / 'celeba'}, unpack the .zip "
            "there, and run the same command again"
        ) from error
    chosen = found.attr[:, [found.attr_names.index(name) for name in ATTRIBUTES]]
    labels = (chosen * chosen.new_tensor([4, 2, 1])).sum(dim=1)
    root = folder / "celeba" / "img_align_celeba"
    missing = next((name for name in found.filename if not (root / name).is_file()), None)
    if missing:
        raise UserError(f"{root / missing} not found: unpack img_align_celeba.zip again")
    files = [(root / name, int(label)) for name, label in zip(found.filename, labels, strict=True)]
    classes = ["".join(bits) for bits in itertools.product("01", repeat=len(ATTRIBUTES))]
    return pictures.of_files(root, files, classes)
