"""Which classifier is meant."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Subject:
    """A classifier of a dataset by name.

    model:    the classifier family, a value of --model
    defense:  what it was trained with, a value of --defense
    shadow:   the number of a shadow model, 0 being a target trained like them; None is the target itself
    canaries: how many samples it was trained with in the place of others that bear a wrong label
    own_diffusion: whether shadow models are fenced by a diffusion model of their own each
    """

    model: str = "resnet"
    defense: str = "undefended"
    shadow: int | None = None
    canaries: int = 0
    own_diffusion: bool = False

    def __str__(self) -> str:
        name = f"{self.defense} ({self.model})"
        return name if self.shadow is None else f"{name}, shadow {self.shadow}"

    @property
    def undefended(self) -> "Subject":
        """The same without a defence, which some defences protect."""
        return replace(self, defense="undefended")

    @property
    def training_command(self) -> str:
        """What a user types to train it."""
        return f"python train_defense.py --defense {self.defense}" + (
            "" if self.model == "resnet" else f" --model {self.model}"
        )
