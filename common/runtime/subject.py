"""Which classifier is meant."""

from dataclasses import dataclass, replace

from common.runtime.modes import OriginalSettings


@dataclass(frozen=True)
class Subject:
    """A classifier of a dataset by name.

    model:    the classifier family, or the function that makes its network, a value of --model
    defense:  what it was trained with, a value of --defense
    shadow:   the number of a shadow model, 0 being a target trained like them; None is the target itself
    canaries: how many samples it was trained with in the place of others that bear a wrong label
    own_diffusion: whether shadow models are fenced by a diffusion model of their own each
    protected_by: of a shadow model without a defence, the defence that it is trained for, in whose store it then is
    original: the defence with the settings of whose own paper it was trained, a value of --original; None: with ours
    """

    model: str = "resnet"
    defense: str = "undefended"
    shadow: int | None = None
    canaries: int = 0
    own_diffusion: bool = False
    protected_by: str | None = None
    original: OriginalSettings | None = None

    def __str__(self) -> str:
        name = f"{self.defense} ({self.model})" + ("" if self.original is None else f", as in {self.original}'s paper")
        return name if self.shadow is None else f"{name}, shadow {self.shadow}"

    @property
    def is_default(self) -> bool:
        """Whether its defence alone says which it is: of the default model, with the default settings."""
        return self == Subject(defense=self.defense)

    @property
    def model_folder(self) -> str:
        """Names the folder of its model: resnet; my_models.build of my_models:build."""
        return self.model.replace(":", ".")

    @property
    def settings(self) -> str:
        """The YAML file of its training, below configs/: selena, original/selena, original/undefended_selena."""
        return self._recipe("original/")

    @property
    def name(self) -> str:
        """Begins the names of its files and result folders: selena, original_selena, original_undefended_selena."""
        return self._recipe("original_")

    def _recipe(self, original: str) -> str:
        if self.original is None:
            return self.defense
        return f"{original}{self.defense}" + ("" if self.defense == self.original else f"_{self.original}")

    @property
    def undefended(self) -> "Subject":
        """The same without a defence, which some defences protect."""
        return replace(self, defense="undefended", protected_by=None if self.shadow is None else self.defense)

    @property
    def training_command(self) -> str:
        """What a user types to train it."""
        options = "" if self.model == "resnet" else f" --model {self.model}"
        options += "" if self.original is None else f" --original {self.original}"
        return f"python train_defense.py --defense {self.defense}{options}"
