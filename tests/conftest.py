"""Fixtures of the tests that run real command lines."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: bits depend on the number of threads

from pathlib import Path

import pytest
from hypothesis import settings

from tests import miniature, served

settings.register_profile("fuzz", max_examples=20_000, deadline=None)  # of `make fuzz`


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A miniature repository in which every dataset has its partition, diffusion model and undefended classifier."""
    root = miniature.build(tmp_path_factory.mktemp("trained"))

    def train(dataset: str) -> None:
        for command in (
            ["data_partition.py"],
            ["train_ddpm.py"],
            ["train_defense.py", "--defense", "undefended"],
        ):
            done = served.run(root, dataset, *command)
            assert done.returncode == 0, f"{dataset} {command}: {done.stderr}"

    for dataset in miniature.DATASETS:  # one by one: threads that start processes at once lose their exit statuses
        train(dataset)
    return root
