"""Fetch a dataset and decide which sample plays which part."""

from pathlib import Path

from common.data import membership, partition, prepared
from common.data.partition import PartitionFile
from common.experiment.experiment import Experiment
from common.experiment.plan import Item
from common.runtime import checkpoints, ownership, storage
from common.runtime.errors import UserError
from common.runtime.paths import DatasetFolder

READS = ("data", "evaluation")  # YAML files
FEW = 100  # members, or non-members, of a role: fewer are told


class InUse(UserError):
    """Models were trained on the partition that would be replaced."""


def plan(experiment: Experiment) -> list[Item]:
    """The partition; the settings are checked."""
    _ = experiment.sizes, experiment.evaluation_config
    path = experiment.folder.partition
    return [Item(experiment.folder.shown(path), "there, written anew" if path.is_file() else "not there")]


def make(experiment: Experiment, *, permutation: Path | None, replace: bool = False) -> None:
    """Write the partition, by the permutation of a file, or by that in the dataset folder, or by the seed; print it.

    Raises InUse where that would replace another partition which models here were trained on, unless ``replace``.
    """
    folder = experiment.folder
    _prepare(experiment, replace=replace)
    num_sample = experiment.evaluation_config.num_sample
    in_place = folder.permutation if folder.permutation.is_file() else None
    content = partition.make(
        experiment.data,
        experiment.sizes,
        dataset=folder.name,
        seed=experiment.seed,
        permutation=permutation or in_place,
    )
    with ownership.locked(folder.partition):
        if not replace:
            _require_unused(folder, content)
        storage.write_json(folder.partition, content.record())
    print(f"{folder.shown(folder.partition)}: data sha256 {content.data_sha256[:16]}…")
    print(membership.verdict(experiment.partition) + "\n")
    classes = experiment.spec.num_classes
    print(partition.table(experiment.partition, experiment.data, num_sample=num_sample, num_classes=classes))
    roles = experiment.partition.roles(num_sample)
    fewest = min(min(len(role.members), len(role.non_members)) for role in roles.values())
    if fewest < min(FEW, num_sample):
        print(
            f"\nThe smallest role has {fewest} samples of a kind: attacks learn little from them, intervals are wide."
        )


def _prepare(experiment: Experiment, *, replace: bool) -> None:
    """Read the images into the memory map, where their source needs one and it is not there or of another state.

    Raises UserError where that would replace images which models here, or of any seed, were trained on, unless
    ``replace``.
    """
    folder, config = experiment.folder, experiment.dataset
    if not prepared.is_used(config):
        return
    pool = prepared.pool_of(config, folder)
    if prepared.is_current(folder, config, pool):
        return
    trained = [folder.shown(path) for each in folder.everywhere() for path in each.trained()]
    if trained and folder.prepared.is_dir() and not replace:
        raise UserError(
            f"{folder.shown(folder.prepared)}: the images are others than those that {trained[0]} was trained on. "
            f"`python data_partition.py --replace` in {folder.name}/ reads them anew all the same"
        )
    prepared.write(folder, config, pool)


def _require_unused(folder: DatasetFolder, new: PartitionFile) -> None:
    """Raise InUse where models were trained on the partition that is there, and the new one is another."""
    if not folder.partition.is_file():
        return
    try:
        old = partition.read_file(folder.partition)[0].key
    except UserError:
        old = None  # damaged: models trained on anything but the new one may be of it
    if old == new.key:
        return
    trained = {path: key for path in folder.trained() if (key := _trained_on(path)) is not None}
    lost = [folder.shown(path) for path, key in trained.items() if key == old or (old is None and key != new.key)]
    if lost:
        raise InUse(
            f"{folder.shown(folder.partition)} is the partition that {', '.join(lost[:4])}"
            f"{f' and {len(lost) - 4} more' if len(lost) > 4 else ''} were trained on, and the new one is another: "
            "with it their members would no longer be known. Add --replace to replace it all the same"
        )


def _trained_on(path: Path) -> str | None:
    """The key of the partition that a checkpoint says it was trained on; None where it says nothing."""
    try:
        made_from = checkpoints.read(path, expect={}).content.get("made_from")
    except UserError:
        return None
    return made_from.get("partition") if isinstance(made_from, dict) else None
