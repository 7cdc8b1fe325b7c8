"""The store of a subject's shadow models: what they are asked, by which fence, and where their answers are."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.data import shadows
from common.data.shadows import TARGET, Canaries
from common.defenses import DEFENSES
from common.diffence.measures import Fence
from common.evaluation.protocols import EvaluationConfig
from common.evaluation.reconstructions import Reconstructions
from common.experiment.experiment import Experiment
from common.experiment.fence import build_fence, load_diffusion_model, require_diffusion_model
from common.experiment.shadows import ShadowAnswers, ShadowExperiment, name_of, numbered
from common.experiment.subjects import load_classifier
from common.formats.diffusion_model import DiffusionModel
from common.runtime import rng, storage
from common.runtime.errors import UserError
from common.runtime.images import Labelled
from common.runtime.subject import Subject
from common.training.jobs import difference


@dataclass(frozen=True)
class Store:
    """A subject's shadow models: which samples they are asked about, and by which diffusion model they are fenced.

    canaries:  how many there are
    """

    experiment: Experiment
    subject: Subject
    canaries: int

    @property
    def folder(self) -> Path:
        return self.experiment.folder.shadows(numbered(self.subject, 1, count=self.canaries))

    @property
    def record(self) -> Path:
        """The settings that the store was made with."""
        return self.folder / "store.json"

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
        return self.member_experiment(TARGET).population.train[torch.from_numpy(self.indices)]

    @property
    def training_command(self) -> str:
        options = "" if self.subject.model == "resnet" else f" --model {self.subject.model}"
        options += f" --canaries {self.canaries}" if self.canaries else ""
        return f"python train_shadows.py --defense {self.subject.defense}{options}"

    @cached_property
    def diffusion(self) -> DiffusionModel:
        return load_diffusion_model(self.experiment)

    def path(self, number: int) -> Path:
        return self.folder / name_of(number)

    def member_experiment(self, number: int) -> ShadowExperiment:
        return ShadowExperiment.of(self.experiment, number, self.among)

    @cached_property
    def fences(self) -> dict[str, tuple[Fence, int]]:
        """For the images and for the pool of near-copies: a fence of as many candidates, and its key."""
        config, seed = self.experiment.fence_config, self.experiment.seed
        own = config.of("paper").with_measures(num_candidates=config.most_candidates)
        pool = max(self.experiment.evaluation_config.shadows.candidates, config.most_candidates)
        near = own.with_measures(num_candidates=pool)
        return {"own": (own, seed), "near": (near, rng.derive_seed(seed, "near copies"))}

    def reconstructions(self, name: str) -> Reconstructions:
        """Of the pool's images, by the target's diffusion model."""
        fence, key = self.fences[name]
        compute = self.experiment.compute["diffusion"]
        named_by = {
            **self._purified_by(name),
            "indices": self.indices.tolist(),
            "partition": self.experiment.partition.key,
        }
        return Reconstructions(
            build_fence(_nobody, self.diffusion.denoiser, fence, key=key),
            self.experiment.folder.banks / storage.digest(named_by),
            self.samples.images,
            fence.group_size,
            compute.device,
        )

    @property
    def defense_settings(self) -> dict[str, Any]:
        defense = self.subject.defense
        return self.experiment.config(defense, DEFENSES[defense].config).model_dump()

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Everything that the models and their answers depend on, but for their numbers."""
        experiment, subject = self.experiment, self.subject
        built_on = {}
        if DEFENSES[subject.defense].needs_undefended:
            built_on = {"undefended": experiment.config("undefended", DEFENSES["undefended"].config).model_dump()}
        return {
            "partition": experiment.partition.key,
            "seed": experiment.seed,
            "classifier": experiment.classifier_config.model_dump()[subject.model],
            subject.defense: self.defense_settings,
            **built_on,
            "precision": experiment.compute["classifier"].precision,
            "canaries": [self.among.indices.tolist(), self.among.labels.tolist()],
            "pool": self.indices.tolist(),
            **{name: self._purified_by(name) for name in self.fences},
        }

    @property
    def key(self) -> str:
        return storage.digest(self.settings)

    def _purified_by(self, name: str) -> dict[str, Any]:
        fence, key = self.fences[name]
        compute = self.experiment.compute["diffusion"]
        return {
            "fence": fence.reconstructs,
            "candidates": fence.measures.num_candidates,
            "key": key,
            "diffusion": [file.sha256 for file in self.diffusion.files],
            "device": compute.device.type,
            "precision": compute.precision,
            "compile": compute.compile,
            "torch": torch.__version__,
        }

    def answers(self, number: int) -> ShadowAnswers:
        """Raises UserError where they are not there, or not of this store."""
        return ShadowAnswers.read(self.path(number), store=self.key)

    def require_alike(self) -> None:
        """Raise UserError where the store was made with other settings, so that it is never mixed of two kinds."""
        if not self.record.is_file():
            return
        try:
            found = storage.read_json(self.record)
        except (OSError, ValueError) as error:
            raise UserError(f"{self.record}: not readable JSON ({error}): move {self.folder} away") from error
        wanted = storage.parse_json(json.dumps(self.settings).encode())
        if found != wanted:
            changed = difference(found, wanted) if isinstance(found, dict) else "all of them"
            raise UserError(
                f"{self.folder} was made with other settings than there are now ({changed[:500]}): move it away to "
                "make shadow models anew, or leave the settings as they were"
            )

    def require(self) -> None:
        """Raise UserError where something is missing, or the pool does not suit."""
        experiment, subject = self.experiment, self.subject
        experiment.folder.require(experiment.folder.partition, "python data_partition.py")
        require_diffusion_model(experiment)
        shadows.require_pool(experiment.partition)
        if experiment.fence_config.steady.noise != "per_image":
            raise UserError(
                "shadow models of both fences answer from the same reconstructions, each image with noise of its own: "
                "steady.noise in configs/diffence.yaml must be per_image for them"
            )
        if self.canaries == 0:
            path = experiment.folder.classifier(subject)
            experiment.folder.require(path, subject.training_command)
            trained = load_classifier(experiment, subject).settings
            if trained != self.defense_settings:
                raise UserError(
                    f"{experiment.folder.shown(path)} was trained with other settings than shadow models would be "
                    f"({difference(trained, self.defense_settings)}): train it again with `{subject.training_command}`"
                )

    def there(self) -> list[int]:
        """The numbers of the models whose answers are there, the target's first, shadow models in whole pairs."""
        found = sorted(int(path.name.split(".")[0]) for path in self.folder.glob("[0-9]*.logits.pth"))
        last = max(found, default=0)
        whole = [
            number for pair in range(1, last + 1, 2) for number in (pair, pair + 1) if {pair, pair + 1} <= {*found}
        ]
        return [*([TARGET] if TARGET in found else []), *whole]


def _nobody(x: torch.Tensor) -> torch.Tensor:
    raise AssertionError("reconstructions need no classifier")
