"""The store of a subject's shadow models: what they are asked, by which fence, and where their answers are."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from common.data import shadows
from common.data.shadows import TARGET
from common.defenses import DEFENSES
from common.diffence.measures import Fence
from common.evaluation.reconstructions import Reconstructions, nobody
from common.experiment import train_ddpm
from common.experiment.experiment import Experiment
from common.experiment.fence import build_fence, load_diffusion_model, require_diffusion_model
from common.experiment.shadows import ShadowAnswers, ShadowExperiment, ShadowPool, name_of
from common.experiment.store_record import settings_of
from common.experiment.subjects import Defended, load_classifier
from common.formats.diffusion_model import DiffusionModel
from common.runtime import rng, storage
from common.runtime.errors import UserError
from common.runtime.subject import Subject
from common.training.provenance import difference


@dataclass(frozen=True)
class Store:
    """A subject's shadow models: which samples they are asked about, and by which diffusion model they are fenced.

    subject:  with so many canaries and, as configs/evaluation.yaml says, the target's diffusion model or own ones
    """

    experiment: Experiment
    subject: Subject

    @classmethod
    def of(cls, experiment: Experiment, subject: Subject, *, canaries: int) -> "Store":
        own = experiment.evaluation_config.shadows.diffusion == "own"
        return cls(experiment, replace(subject, canaries=canaries, own_diffusion=own))

    @property
    def reads(self) -> tuple[str, ...]:
        """YAML files."""
        of_diffusion = ("ddpm",) if self.subject.own_diffusion else ()
        return ("data", "classifier", "diffence", "evaluation", *of_diffusion, self.subject.defense)

    @property
    def folder(self) -> Path:
        return self.experiment.folder.shadows(self.subject)

    @property
    def trains_target(self) -> bool:
        """Whether the target is trained anew: with canaries, or where its defence has learnt from the non-members."""
        return self.subject.canaries > 0 or DEFENSES[self.subject.defense].needs_reference

    def is_target(self, number: int) -> bool:
        """Whether a model is the subject's own target, trained already."""
        return number == TARGET and not self.trains_target

    def subject_of(self, number: int) -> Subject:
        if self.is_target(number):
            return Subject(self.subject.model, self.subject.defense)
        return replace(self.subject, shadow=number)

    @cached_property
    def target(self) -> Defended:
        """The subject's own, where it is not trained anew: read once, so that all is of one file."""
        return load_classifier(self.experiment, self.subject_of(TARGET))

    @property
    def warnings(self) -> list[str]:
        """Lines that a reader must see: whether the members are the target's own, where it is not trained anew."""
        if self.trains_target:
            return []
        return self.target.membership(self.experiment.partition, self._of_target).lines[1:]

    @property
    def record(self) -> Path:
        """The settings that the store was made with."""
        return self.folder / "store.json"

    @cached_property
    def pool(self) -> ShadowPool:
        return ShadowPool(self.experiment, self.subject.canaries)

    @property
    def training_command(self) -> str:
        options = "" if self.subject.model == "resnet" else f" --model {self.subject.model}"
        options += f" --canaries {self.subject.canaries}" if self.subject.canaries else ""
        options += " --set evaluation.shadows.diffusion=own" if self.subject.own_diffusion else ""
        return f"python train_shadows.py --defense {self.subject.defense}{options}"

    @cached_property
    def _of_target(self) -> DiffusionModel:
        return load_diffusion_model(self.experiment)

    def own_diffusion(self, number: int) -> Path | None:
        """Where the diffusion model is that a model has for itself; None where the target's fences it."""
        alone = self.subject.own_diffusion and not self.is_target(number)
        return self.folder / f"{number:04}.ddpm.pt" if alone else None

    def diffusion(self, number: int) -> DiffusionModel:
        """The diffusion model that fences a model. Raises UserError where it is one of its own that is not there."""
        path = self.own_diffusion(number)
        return self._of_target if path is None else load_diffusion_model(replace(self.experiment, diffusion=path))

    def path(self, number: int) -> Path:
        return self.folder / name_of(number)

    def member_experiment(self, number: int) -> ShadowExperiment:
        return ShadowExperiment.of(self.experiment, number, self.pool.among)

    @cached_property
    def fences(self) -> dict[str, tuple[Fence, int]]:
        """For the images and for the pool of near-copies: a fence of as many candidates, and its key."""
        config, seed = self.experiment.fence_config, self.experiment.seed
        own = config.of("paper").with_measures(num_candidates=config.most_candidates)
        pool = max(self.experiment.evaluation_config.shadows.candidates, config.most_candidates)
        near = own.with_measures(num_candidates=pool)
        return {"own": (own, seed), "near": (near, rng.derive_seed(seed, "near copies"))}

    def reconstructions(self, name: str, diffusion: DiffusionModel) -> Reconstructions:
        """Of the pool's images, by a diffusion model."""
        fence, key = self.fences[name]
        compute = self.experiment.compute["diffusion"]
        named_by = {
            **self._purified_by(name, diffusion.hashes),
            "indices": self.pool.indices.tolist(),
            "partition": self.experiment.partition.key,
        }
        return Reconstructions(
            build_fence(nobody, diffusion.denoiser, fence, key=key),
            self.experiment.folder.banks / storage.digest(named_by),
            self.pool.samples.images,
            fence.group_size,
            compute.device,
        )

    def _settings_of(self, defense: str) -> dict[str, Any]:
        return self.experiment.config(defense, DEFENSES[defense].config).model_dump()

    @property
    def settings(self) -> dict[str, Any]:
        """Those that the store was made with, or is to be. Raises UserError where they are not those of now."""
        return settings_of(self.record, self._settings_now)

    @cached_property
    def _settings_now(self) -> dict[str, Any]:
        """Everything that the models and their answers depend on, but for their numbers."""
        experiment, subject = self.experiment, self.subject
        defense = DEFENSES[subject.defense]
        return {
            "partition": experiment.partition.key,
            "seed": experiment.seed,
            "classifier": experiment.classifier_settings(subject.model),
            "normalisation": experiment.normalisation,
            subject.defense: self._settings_of(subject.defense),
            **({"undefended": self._settings_of("undefended")} if defense.needs_undefended else {}),
            **({"reference": "test set"} if defense.needs_reference else {}),
            "precision": experiment.compute["classifier"].precision,
            "canaries": [self.pool.among.indices.tolist(), self.pool.among.labels.tolist()],
            "pool": self.pool.indices.tolist(),
            **({} if self.trains_target else {"target": self.target.file.sha256}),
            **{name: self._purified_by(name, self._diffusion_settings) for name in self.fences},
        }

    @cached_property
    def _diffusion_settings(self) -> Any:
        if not self.subject.own_diffusion:
            return self._of_target.hashes
        own = self.experiment.ddpm_config.model_dump()
        return {"own": own} if self.trains_target else {"own": own, "target": self._of_target.hashes}

    @property
    def key(self) -> str:
        return storage.digest(self.settings)

    def _purified_by(self, name: str, diffusion: Any) -> dict[str, Any]:
        fence, key = self.fences[name]
        compute = self.experiment.compute["diffusion"]
        return {
            "fence": fence.reconstructs,
            "candidates": fence.measures.num_candidates,
            "key": key,
            "diffusion": diffusion,
            "device": compute.device.type,
            "precision": compute.precision,
            "compile": compute.compile,
            "torch": torch.__version__,
        }

    def answers(self, number: int) -> ShadowAnswers:
        """Raises UserError where they are not there, or not of this store."""
        return ShadowAnswers.read(self.path(number), store=self.key)

    def require(self) -> None:
        """Raise UserError where something is missing, the pool does not suit, or the store is of other settings."""
        experiment, subject = self.experiment, self.subject
        experiment.folder.require(experiment.folder.partition, "python data_partition.py")
        if self.own_diffusion(TARGET) is None:
            require_diffusion_model(experiment)
        if self.subject.own_diffusion:
            self._require_trainable_diffusion()
        shadows.require_pool(experiment.partition)
        if experiment.fence_config.steady.noise != "per_image":
            raise UserError(
                "shadow models of both fences answer from the same reconstructions, each image with noise of its own: "
                "steady.noise in configs/diffence.yaml must be per_image for them"
            )
        if not self.trains_target:
            path = experiment.folder.classifier(subject)
            experiment.folder.require(path, subject.training_command)
            trained, wanted = self.target.settings, self._settings_of(subject.defense)
            if trained != wanted:
                raise UserError(
                    f"{experiment.folder.shown(path)} was trained with other settings than shadow models would be "
                    f"({difference(trained, wanted)}): train it again with `{subject.training_command}`"
                )
        _ = self.settings

    def _require_trainable_diffusion(self) -> None:
        """Raise UserError where own diffusion models cannot be trained, or the target's was not trained as they are."""
        train_ddpm.require_possible(self.experiment)
        if (on := self.experiment.ddpm_config.training.trained_on) != "members":
            raise UserError(
                f"shadow models' own diffusion models learn from their own members, not from {on}: attacks are scored "
                "on the others too, so leave ddpm.training.trained_on as members"
            )
        if not self.trains_target:
            made_from, wanted = self._of_target.made_from, train_ddpm.job(self.experiment).made_from.ddpm or {}
            if made_from is None or made_from.ddpm != wanted:
                changed = "not by this project" if made_from is None else difference(made_from.ddpm or {}, wanted)
                raise UserError(
                    f"{self.experiment.folder.shown(self.experiment.folder.ddpm)} was trained otherwise than shadow "
                    f"models' own would be ({changed}): train it again with `python train_ddpm.py`"
                )

    def there(self) -> list[int]:
        """The numbers of the models whose answers are there, the target's first, shadow models in whole pairs."""
        found = sorted(int(path.name.split(".")[0]) for path in self.folder.glob("[0-9]*.logits.pth"))
        last = max(found, default=0)
        whole = [
            number for pair in range(1, last + 1, 2) for number in (pair, pair + 1) if {pair, pair + 1} <= {*found}
        ]
        return [*([TARGET] if TARGET in found else []), *whole]
