"""One shadow model's experiment, what all are asked about, and what one answers."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from common.data import shadows
from common.data.partition import Partition
from common.data.raw import RawData
from common.data.shadows import TARGET, Canaries
from common.diffence import Candidates
from common.evaluation.protocols import EvaluationConfig
from common.evaluation.record import Privacy
from common.experiment.experiment import Experiment
from common.runtime import checkpoints, config, rng
from common.runtime.errors import UserError
from common.runtime.images import Labelled


@dataclass(frozen=True, kw_only=True)
class ShadowExperiment(Experiment):
    """The experiment of the target, but for who is a member, the canaries' labels, and the seed.

    base:    that of the target
    number:  of the model
    among:   the canaries
    """

    base: Experiment
    number: int
    among: Canaries

    @classmethod
    def of(cls, base: Experiment, number: int, among: Canaries) -> "ShadowExperiment":
        seed = base.seed if number == TARGET else rng.derive_seed(base.seed, "shadow model", number) % 2**32
        return cls(
            base.folder, seed, base.compute, base.diffusion, base.overrides, base=base, number=number, among=among
        )

    @cached_property
    def data(self) -> RawData:
        data = self.base.data
        labels = data.train_labels.clone()
        labels[torch.from_numpy(self.among.indices)] = torch.from_numpy(self.among.labels)
        return replace(data, train_labels=labels)

    def reference_part(self, count: int) -> Labelled:
        """Test samples, as many as there are: the others of the pool are the non-members whom attacks are scored on."""
        return self.test_part(self.partition.test_order[:count])

    @cached_property
    def partition(self) -> Partition:
        return shadows.partition_of(self.base.partition, self.number, self.among)


@dataclass(frozen=True)
class ShadowPool:
    """The samples that all models of a store are asked about: members and reference samples, and canaries.

    canaries:  how many there are
    """

    experiment: Experiment
    canaries: int

    @cached_property
    def among(self) -> Canaries:
        experiment = self.experiment
        return shadows.canaries(
            experiment.partition,
            experiment.data.train_labels.numpy(),
            self.canaries,
            num_classes=experiment.spec.num_classes,
        )

    @cached_property
    def roles(self) -> dict[str, np.ndarray]:
        """Indices into the training set."""
        config: EvaluationConfig = self.experiment.evaluation_config
        return shadows.pool_roles(self.experiment.partition, config.num_sample, self.among)

    @cached_property
    def indices(self) -> np.ndarray:
        """Of all roles, one after the other: int64 [n]."""
        return np.concatenate(list(self.roles.values()))

    @property
    def places(self) -> dict[str, np.ndarray]:
        """Of each role's samples among all of them."""
        cuts = np.cumsum([len(of_role) for of_role in self.roles.values()])[:-1]
        return dict(zip(self.roles, np.split(np.arange(len(self.indices)), cuts), strict=True))

    @cached_property
    def samples(self) -> Labelled:
        """Of all roles, with the labels that models are trained with."""
        return ShadowExperiment.of(self.experiment, TARGET, self.among).population.train[torch.from_numpy(self.indices)]


@dataclass(frozen=True)
class ShadowAnswers:
    """What one model of a store answers to n samples of the pool.

    number:         of the model, 0 being the target
    member:         bool [n], who was in its training set
    own:            N candidates of each image
    near:           M candidates of each, from which near-copies are answered
    test_accuracy:  on all of the test set
    privacy:        what DP-SGD spent on it
    """

    number: int
    member: np.ndarray
    own: Candidates
    near: Candidates
    test_accuracy: float
    privacy: Privacy | None

    def save(self, path: Path, *, store: str) -> None:
        """Write them; ``store`` names the settings of the store."""
        assert self.own.rank is not None
        tensors = {"own": self.own.logits, "rank": self.own.rank, "near": self.near.logits}
        others = {
            "number": self.number,
            "test_accuracy": self.test_accuracy,
            "privacy": self.privacy.model_dump() if self.privacy else None,
        }
        checkpoints.save(path, {"store": store, **others, "member": torch.from_numpy(self.member), **tensors})

    @classmethod
    def read(cls, path: Path, *, store: str) -> "ShadowAnswers":
        """Raises UserError where they are missing, damaged, or of another store."""
        tensors = dict.fromkeys(("member", "own", "rank", "near"), torch.Tensor)
        try:
            found = checkpoints.read(
                path, expect={"store": str, "number": int, "test_accuracy": float, **tensors}
            ).content
        except UserError as error:
            raise UserError(f"{error}: delete it, and train_shadows.py makes it anew") from error
        if found["store"] != store or path.name != name_of(found["number"]):
            raise UserError(f"{path} is not of this store: delete it, and train_shadows.py makes it anew")
        own, near = (
            Candidates(found[name], torch.full((len(found[name]),), found[name].shape[1] - 1), rank)
            for name, rank in (("own", found["rank"]), ("near", None))
        )
        privacy = found.get("privacy") and config.parse(found["privacy"], Privacy, source=f"{path}: privacy")
        return cls(found["number"], found["member"].numpy(), own, near, found["test_accuracy"], privacy)


def name_of(number: int) -> str:
    """The file with the answers of a model."""
    return f"{number:04}.logits.pth"
