"""Make a dataset folder: the scripts of the others, and settings that fit the images."""

import importlib.util
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.data import arrays, celeba, pictures
from common.data.config import DatasetConfig, Labels
from common.data.partition import LEAST
from common.data.pool import Pool, lines_of, listed
from common.runtime import config, progress, storage
from common.runtime.errors import UserError
from common.runtime.images import Size, sides, size_of
from common.runtime.paths import DatasetFolder

NORMALISED_BY = 1000  # images
LARGEST = 256  # side of images that are taken as they are
SMALL = 16  # side up to which the settings are those of digits
MANY_PIXELS = 64 * 64  # from which fewer images go through the diffusion model together
USUAL = 64  # side of images that come in several shapes
PAPER_MEMBERS = {"celeba": 10_000, "utkface": 5_000}


@dataclass(frozen=True)
class Wanted:
    """What is asked for; neither images nor arrays: CelebA. None: what the images are."""

    name: str
    images: Path | None = None
    arrays: Path | None = None
    labels: Labels = "folders"
    size: Size | None = None
    channels: int | None = None
    members: Path | None = None


def make(root: Path, wanted: Wanted) -> None:
    """Write the folder below ``root``, whole or not at all, and print what comes next.

    Raises UserError where the name or the images cannot be used, or the folder is there already.
    """
    folder = _named(root, wanted.name)
    if wanted.images is None and wanted.arrays is None:
        content, members, classes = _celeba(wanted), None, list(celeba.ATTRIBUTES)
    else:
        content, members, classes = _of_pool(wanted)
    text = _data_yaml(content, classes)
    with storage.new_folder(folder.root) as stage:
        _copy_scripts(root, stage)
        for name, said in {"data.yaml": text, **_settings(root, content)}.items():
            storage.write_text(stage / "configs" / name, said)
        if members is not None:
            storage.write_text(stage / "configs" / str(content.member_list), "".join(f"{name}\n" for name in members))
    print(f"{wanted.name}/ is ready. Its configs/data.yaml says what the images are:\n\n{text}")
    print(f"Next, in {wanted.name}/:")
    print("  python data_partition.py\n  python train_ddpm.py\n  python train_defense.py --defense undefended")
    print("  bash evaluate_MIAs/evaluate_mia.sh --defense undefended")


def _named(root: Path, name: str) -> DatasetFolder:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(f"{name}: a dataset's name is small letters, digits and _, beginning with a letter")
    folder = DatasetFolder(root / name)
    if folder.root.exists() or folder.root.is_symlink():
        raise UserError(f"{name}/ is there already: choose another name, or move it away")
    if importlib.util.find_spec(name) is not None:
        raise UserError(f"{name} is the name of a Python package, which the folder would hide: choose another one")
    return folder


def _celeba(wanted: Wanted) -> DatasetConfig:
    """As the paper has it; nothing is fetched yet."""
    if wanted.members is not None or wanted.labels != "folders":
        raise UserError("--members and --labels go with --images or --arrays")
    members, channels = PAPER_MEMBERS["celeba"], wanted.channels or 3
    return _config(
        {"torchvision": "CelebA"},
        size=wanted.size or size_of(*celeba.SIZE),
        shares=(members, members),
        classes=2 ** len(celeba.ATTRIBUTES),
        normalisation=([0.5] * channels, [0.5] * channels),
        limit=3 * members,
    )


def _of_pool(wanted: Wanted) -> tuple[DatasetConfig, list[str] | None, list[str]]:
    """The settings, the names of the members where they are known, and those of the classes."""
    chosen: np.ndarray | None = None
    if wanted.arrays is not None:
        if wanted.labels != "folders":
            raise UserError("--labels goes with --images")
        (pool, chosen), source = arrays.of_file(wanted.arrays), {"arrays": str(wanted.arrays)}
    else:
        assert wanted.images is not None
        pool = pictures.of_utkface(wanted.images) if wanted.labels == "utkface" else pictures.of_folders(wanted.images)
        source = {"folder": str(wanted.images), "labels": wanted.labels}
    if wanted.members is not None:
        if chosen is not None:
            raise UserError(f"{wanted.arrays} says in member who the members are: leave --members away")
        chosen = listed(pool, lines_of(wanted.members), source=str(wanted.members))
    some = np.random.RandomState(0).permutation(len(pool))[:NORMALISED_BY]
    channels, size = _shape(pool, wanted)
    content = _config(
        source,
        size=size,
        shares=_shares(pool, chosen, most=PAPER_MEMBERS.get(wanted.labels)),
        classes=len(pool.classes),
        normalisation=_normalisation(pool, some, channels, size),
        member_list=None if chosen is None else "members.txt",
    )
    return content, None if chosen is None else [pool.names[number] for number in chosen], list(pool.classes)


def _shape(pool: Pool, wanted: Wanted) -> tuple[int, Size]:
    """Channels and size, of all images: one in colour makes all colour."""
    with progress.bar(total=len(pool), unit="image", desc="look at images") as bar:
        looks = set()
        for number in range(len(pool)):
            looks.add(pool.look(number))
            bar.update()
    channels = wanted.channels or max(look[0] for look in looks)
    shapes = {look[1:] for look in looks}
    (height, width), *others = shapes
    own = size_of(height, width) if not others and (wanted.arrays or max(height, width) <= LARGEST) else None
    return channels, wanted.size or own or USUAL


def _shares(pool: Pool, chosen: np.ndarray | None, *, most: int | None) -> tuple[int, int]:
    """How many members there are, and how many reference samples.

    A list names the members, and then no reference samples are set apart; else half of the source's training set, or a
    third of all images, are members, and as many are reference samples. Raises UserError where images are too few.
    """
    if chosen is not None:
        shares, rest = (len(chosen), 0), len(pool) - len(chosen)
    else:
        training = pool.training
        half = training // 2 if training is not None else len(pool) // 3
        half = half if most is None else min(half, most)
        shares, rest = (half, half), len(pool) - (training if training is not None else 2 * half)
    if shares[0] < LEAST or rest < LEAST:
        raise UserError(
            f"{len(pool)} images give {shares[0]} members and {rest} non-members: roles need at least {LEAST} of each"
        )
    return shares


def _normalisation(pool: Pool, some: np.ndarray, channels: int, size: Size) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, of values in [0, 1]."""
    pixels = np.stack([pool.read(int(number), channels, size) for number in some]) / 255  # [n, C, H, W]
    mean, std = pixels.mean(axis=(0, 2, 3)), pixels.std(axis=(0, 2, 3))
    return [round(float(value), 4) for value in mean], [max(round(float(value), 4), 1e-4) for value in std]


def _config(
    source: dict[str, str],
    *,
    size: Size,
    shares: tuple[int, int],
    classes: int,
    normalisation: tuple[list[float], list[float]],
    member_list: str | None = None,
    limit: int | None = None,
) -> DatasetConfig:
    """Raises UserError naming the source and what of it no dataset can be."""
    members, reference = shares
    mean, std = normalisation
    content = {
        "source": source,
        "size": size if isinstance(size, int) else list(size),
        "channels": len(mean),
        "classes": classes,
        "mean": mean,
        "std": std,
        "members": members,
        "reference": reference,
        "validation": reference // 10,
        "member_list": member_list,
        "limit": limit,
    }
    return config.parse(content, DatasetConfig, source=next(iter(source.values())))


def _data_yaml(content: DatasetConfig, classes: list[str]) -> str:
    source = content.source.model_dump(exclude_none=True)
    named = ", ".join("".join(c if c.isprintable() else "?" for c in name) for name in classes[:20])
    rows = [
        *((f"  {key}: {json.dumps(value, ensure_ascii=False)}", "") for key, value in source.items()),
        (f"size: {content.size}", "of the images; or [height, width]"),
        (f"channels: {content.channels}", "1 grey, 3 colour"),
        (f"classes: {content.classes}", named + (", …" if len(classes) > 20 else "")),
        (f"mean: {content.mean}", "of each channel, of values in [0, 1]:"),
        (f"std: {content.std}", "the classifiers' first layer normalises by them"),
        (f"members: {content.members}", "training set of every classifier, and of the diffusion model"),
        (f"reference: {content.reference}", "other training samples, which defences may use"),
        (
            f"validation: {content.validation}",
            "the first of the reference set, for choosing checkpoints only",
        ),
        (f"member_list: {content.member_list or 'null'}", "file in configs/ that names the members; null: by the seed"),
        (f"limit: {content.limit or 'null'}", "at most so many images, where the source has no test set; null: all"),
    ]
    lines = [f"{said:<34}# {why}" if why else said for said, why in rows]
    return "\n".join(["# python data_partition.py", "source:", *lines]) + "\n"


def _copy_scripts(root: Path, stage: Path) -> None:
    template = DatasetFolder(root / "cifar10")
    scripts = template.scripts()
    if not scripts:
        raise UserError(f"{template.root} has no scripts to copy: make dataset folders in a clone of the repository")
    for path in scripts:
        target = stage / path.relative_to(template.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


def _settings(root: Path, content: DatasetConfig) -> dict[str, str]:
    """Files below configs/ that say what differs from common/configs/."""
    small = min(sides(content.image_size)) <= SMALL
    template = root / "digits" / "configs"
    paths = [path for path in template.rglob("*.yaml") if path.name != "data.yaml"] if small else []
    files = {path.relative_to(template).as_posix(): path.read_text(encoding="utf-8") for path in paths}
    shared = root / "common" / "configs"

    def put(name: str, lines: str) -> None:
        if name not in files:
            command = (shared / name).read_text(encoding="utf-8").splitlines()[0]
            files[name] = f"{command}\n# What stands here replaces values of common/configs/{name}.\n"
        files[name] += lines

    if not small and np.prod(sides(content.image_size)) >= MANY_PIXELS:
        put("ddpm.yaml", "training:\n  batch_size: 32\n")
        put("diffence.yaml", "group_size: 10       # samples purified and saved together\n")
    if content.validation == 0:
        for path in sorted(shared.rglob("*.yaml")):
            read = config.read(path)
            if read.get("checkpoint_selection") == "validation":
                put(path.relative_to(shared).as_posix(), "checkpoint_selection: last   # there is no validation part\n")
    return files
