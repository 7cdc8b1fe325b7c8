import shutil

import pytest

from common.experiment import seeds
from common.experiment.experiment import Experiment
from common.runtime import checkpoints
from common.runtime.errors import UserError
from common.runtime.paths import DatasetFolder

OTHER_SIZES = {"data": {"members": 16, "reference": 16}}


@pytest.fixture
def folder(trained, tmp_path):
    return DatasetFolder(shutil.copytree(trained, tmp_path / "copy") / "digits", seed=3)


def partition(folder, settings):
    """The seed's, as an evaluation of the seed finds or makes it."""
    experiment = Experiment.at(folder, seed=3, device="cpu", overrides=settings)
    seeds._make_partition(experiment)
    return experiment.partition


def test_a_seeds_partition_of_other_sizes_is_made_anew_where_nothing_was_trained_on_it(folder):
    first = partition(folder, {})
    written = folder.partition.read_bytes()
    assert partition(folder, {}).key == first.key and folder.partition.read_bytes() == written
    other = partition(folder, OTHER_SIZES)
    assert (len(first.members), len(other.members)) == (24, 16)


def test_a_seeds_partition_that_models_were_trained_on_is_to_be_moved_away(folder):
    first = partition(folder, {})
    written = folder.partition.read_bytes()
    checkpoints.save(folder.ddpm, {"made_from": {"partition": first.key}})
    with pytest.raises(
        UserError, match=r"digits/seeds/3/data/partition\.json is of other sizes.*move digits/seeds/3 away"
    ):
        partition(folder, OTHER_SIZES)
    assert folder.partition.read_bytes() == written
    folder.partition.write_bytes(written[:-9])  # damaged, and made anew as it was
    assert partition(folder, {}).key == first.key and folder.partition.read_bytes() == written
