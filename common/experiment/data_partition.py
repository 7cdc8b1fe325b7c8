"""Fetch a dataset and decide which sample plays which part."""

from pathlib import Path

from common.data import membership, partition
from common.experiment.experiment import Experiment
from common.experiment.plan import Item
from common.runtime import storage

READS = ("data", "evaluation")  # YAML files


def plan(experiment: Experiment) -> list[Item]:
    """The partition; the settings are checked."""
    _ = experiment.sizes, experiment.evaluation_config
    path = experiment.folder.partition
    return [Item(experiment.folder.shown(path), "there, written anew" if path.is_file() else "not there")]


def make(experiment: Experiment, *, permutation: Path | None) -> None:
    """Write the partition, by the permutation of a file, or by that in the dataset folder, or by the seed; print it."""
    folder = experiment.folder
    num_sample = experiment.evaluation_config.num_sample
    in_place = folder.permutation if folder.permutation.is_file() else None
    content = partition.make(
        experiment.data,
        experiment.sizes,
        dataset=folder.name,
        seed=experiment.seed,
        permutation=permutation or in_place,
    )
    storage.write_json(folder.partition, content.model_dump())
    print(f"{folder.shown(folder.partition)}: data sha256 {content.data_sha256[:16]}…")
    print(membership.verdict(experiment.partition) + "\n")
    classes = experiment.spec.num_classes
    print(partition.table(experiment.partition, experiment.data, num_sample=num_sample, num_classes=classes))
