"""One dataset folder made ready for work: its data, partition, configuration, device and seed."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common import config, datasets, partition, storage
from common.datasets import DatasetSpec, RawData
from common.device import resolve
from common.paths import DatasetFolder
from common.training import Labelled


@dataclass(frozen=True)
class Experiment:
    folder: DatasetFolder
    seed: int
    device: torch.device
    precision: str = "fp32"  # of the work at hand: a training's network, an evaluation's diffusion model
    compile: bool = False  # that network
    diffusion: Path | None = None  # a diffusion model to use instead of the folder's own

    @classmethod
    def at(
        cls,
        folder: DatasetFolder,
        *,
        seed: int,
        device: str,
        precision: str = "fp32",
        compile: bool = False,
        diffusion: Path | None = None,
    ) -> "Experiment":
        return cls(folder, seed, resolve(device), precision, compile, diffusion and diffusion.resolve())

    @property
    def spec(self) -> DatasetSpec:
        return datasets.SPECS[self.folder.name]

    @cached_property
    def data(self) -> RawData:
        return self.spec.load(self.folder.raw_data)

    @cached_property
    def sizes(self) -> config.DataConfig:
        return config.load(self.folder.config("data"), config.DataConfig)

    @cached_property
    def partition(self) -> partition.Partition:
        self.folder.require(self.folder.partition, "python data_partition.py")
        return partition.read(self.folder.partition, self.data, sizes=self.sizes)

    @cached_property
    def classifier_config(self) -> config.ClassifierConfig:
        return config.load(self.folder.config("classifier"), config.ClassifierConfig)

    @cached_property
    def ddpm_config(self) -> config.DDPMConfig:
        return config.load(self.folder.config("ddpm"), config.DDPMConfig)

    @property
    def tuning_members(self) -> np.ndarray:
        """All members that the held-out protocol fits no attack to and scores none on: int64 indices."""
        return self.partition.roles(len(self.partition.members))["tuning"].members

    @property
    def tuning_members_key(self) -> str:
        """Names them, for recognising work that depends on who they are."""
        return storage.digest(self.tuning_members.tolist())

    def training_part(self, indices: Any) -> Labelled:
        """Samples of the training set, on the device."""
        return self._labelled(self.data.train_images, self.data.train_labels, indices)

    def test_part(self, indices: Any) -> Labelled:
        """Samples of the test set, on the device."""
        return self._labelled(self.data.test_images, self.data.test_labels, indices)

    def _labelled(self, images: torch.Tensor, labels: torch.Tensor, indices: Any) -> Labelled:
        chosen = torch.as_tensor(indices)
        return Labelled(images[chosen].to(self.device), labels[chosen].to(self.device))

    def made_from(self, **more: Any) -> dict[str, Any]:
        """What a trained file depends on, for recognising finished work."""
        own = {"dataset": self.folder.name, "partition": self.partition.key, "seed": self.seed}
        return {**own, "precision": self.precision, **more}
