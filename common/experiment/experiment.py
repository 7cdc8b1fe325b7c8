"""One dataset folder made ready for work: its data, partition, configuration, computing and seed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.data import datasets, partition
from common.data.config import DatasetConfig
from common.data.partition import DataConfig
from common.data.raw import RawData
from common.diffence.measures import DiffenceConfig
from common.diffusion.training import DDPMConfig
from common.evaluation.answers import Population
from common.evaluation.protocols import EvaluationConfig
from common.models import MODELS, own
from common.models.config import ClassifierConfig
from common.runtime import config, storage
from common.runtime.device import Compute, resolve
from common.runtime.errors import UserError
from common.runtime.images import ImageSpec, Labelled
from common.runtime.modes import Network, Precision
from common.runtime.paths import DatasetFolder
from common.training.provenance import Provenance


@dataclass(frozen=True)
class Experiment:
    """A dataset folder with everything that work in it needs, loaded when it is first asked for.

    compute:    how each network is computed, by its name
    diffusion:  a diffusion model to use instead of the folder's own
    overrides:  values that replace those of the YAML files
    """

    folder: DatasetFolder
    seed: int
    compute: Mapping[Network, Compute]
    diffusion: Path | None = None
    overrides: config.Overrides = field(default_factory=dict)

    @classmethod
    def at(
        cls,
        folder: DatasetFolder,
        *,
        seed: int = 0,
        device: str = "auto",
        network: Network = "diffusion",
        precision: Precision = "fp32",
        compile: bool = False,
        diffusion: Path | None = None,
        overrides: config.Overrides | None = None,
    ) -> "Experiment":
        """``precision`` and ``compile`` are those of one network; the other one is computed in fp32, uncompiled."""
        where = resolve(device)
        compute: dict[Network, Compute] = {"classifier": Compute(where), "diffusion": Compute(where)}
        compute[network] = Compute(where, precision, compile)
        return cls(folder, seed, compute, diffusion and diffusion.resolve(), overrides or {})

    @property
    def device(self) -> torch.device:
        return self.compute["classifier"].device

    @property
    def spec(self) -> ImageSpec:
        return self.dataset.spec

    @cached_property
    def data(self) -> RawData:
        return datasets.load(self.dataset, self.folder)

    @cached_property
    def partition(self) -> partition.Partition:
        self.folder.require(self.folder.partition, "python data_partition.py")
        return partition.read(self.folder.partition, self.data, sizes=self.sizes)

    @cached_property
    def population(self) -> Population:
        """The partition with its samples, on the CPU."""
        data = self.data
        train, test = Labelled(data.train_images, data.train_labels), Labelled(data.test_images, data.test_labels)
        return Population(self.partition, train, test)

    def config(self, name: str, model: type[config.Config]) -> config.Config:
        """configs/NAME.yaml with the overrides; NAME may be published/X, whose overrides are those of X."""
        return config.load(self.folder.config(name), model, self.overrides.get(name.rpartition("/")[2]))

    @cached_property
    def dataset(self) -> DatasetConfig:
        return self.config("data", DatasetConfig)

    @property
    def sizes(self) -> DataConfig:
        return self.dataset.sizes

    @cached_property
    def classifier_config(self) -> ClassifierConfig:
        return self.config("classifier", ClassifierConfig)

    def classifier_settings(self, model: str) -> dict[str, Any]:
        """What a value of --model depends on beside its name: its entry of the YAML file, or its architecture."""
        if model in MODELS:
            return getattr(self.classifier_config, model).model_dump()
        return {"architecture": own.architecture(model, self.spec)}

    @property
    def normalisation(self) -> dict[str, list[float]]:
        """The first layer of every classifier: mean and deviation of each channel, of values in [0, 1]."""
        return {"mean": self.dataset.mean, "std": self.dataset.std}

    @cached_property
    def ddpm_config(self) -> DDPMConfig:
        return self.config("ddpm", DDPMConfig)

    @cached_property
    def fence_config(self) -> DiffenceConfig:
        return self.config("diffence", DiffenceConfig)

    @cached_property
    def evaluation_config(self) -> EvaluationConfig:
        return self.config("evaluation", EvaluationConfig)

    def changed_settings(self, reads: Collection[str]) -> list[str]:
        """The overrides as `diffence.step: 160 -> 40`; ``reads`` names the YAML files of the work.

        Raises UserError where an override is of another file, so that none is passed over in silence.
        """
        changes = []
        for file, values in self.overrides.items():
            named = [name for name in reads if name.rpartition("/")[2] == file]
            if not named:
                shown = ", ".join(name.rpartition("/")[2] for name in reads)
                raise UserError(f"--set {file}.{next(iter(values))}: this command reads {shown}")
            changes += config.changes(self.folder.config(named[0]), file, values)
        return changes

    @property
    def tuning_members(self) -> np.ndarray:
        """All members that the held-out protocol fits no attack to and scores none on: int64 indices."""
        return self.partition.roles(len(self.partition.members))["tuning"].members

    @property
    def tuning_members_key(self) -> str:
        """Names them, for recognising work that depends on who they are."""
        return storage.digest(self.tuning_members.tolist())

    def training_part(self, indices: np.ndarray) -> Labelled:
        """Samples of the training set, on the device."""
        return self.population.train[torch.from_numpy(indices)].to(self.device)

    def reference_part(self, count: int) -> Labelled:
        """The last ``count`` samples of the reference set, of which the validation part comes first, on the device."""
        whole = np.concatenate([self.partition.validation, self.partition.reference])
        return self.training_part(whole[len(whole) - count :])

    def test_part(self, indices: np.ndarray) -> Labelled:
        """Samples of the test set, on the device."""
        return self.population.test[torch.from_numpy(indices)].to(self.device)

    def provenance(self, network: Network, **more: Any) -> Provenance:
        """What a checkpoint of a network is made from."""
        return Provenance(
            dataset=self.folder.name,
            partition=self.partition.key,
            seed=self.seed,
            precision=self.compute[network].precision,
            normalisation=self.normalisation if network == "classifier" else None,
            **more,
        )
