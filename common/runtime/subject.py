"""Which classifier is meant."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Subject:
    """A classifier of a dataset by name.

    model:    the classifier family, a value of --model
    defense:  what it was trained with, a value of --defense
    shadow:   the number of a shadow model; None is the target itself
    """

    model: str = "resnet"
    defense: str = "undefended"
    shadow: int | None = None

    def __str__(self) -> str:
        name = f"{self.defense} ({self.model})"
        return name if self.shadow is None else f"{name}, shadow {self.shadow}"

    @property
    def training_command(self) -> str:
        """What a user types to train it."""
        return f"python train_defense.py --defense {self.defense}" + (
            "" if self.model == "resnet" else f" --model {self.model}"
        )
