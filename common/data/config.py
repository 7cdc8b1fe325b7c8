"""configs/data.yaml: where images come from, what they are, and how they are shared out."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from common.data.partition import DataConfig
from common.runtime.config import Positive, PositiveFloat, Strict, later
from common.runtime.images import ImageSpec, Size, size_of

MOST_CLASSES = 65_536
Archive = Literal["CIFAR10", "CIFAR100", "SVHN", "CelebA"]
Labels = Literal["folders", "utkface"]
Name = Annotated[str, Field(min_length=1)]
Side = Annotated[int, Field(gt=0, le=4096)]
Share = Annotated[float, Field(ge=0, le=1)]


class Source(Strict):
    """One of these.

    torchvision:  a dataset that torchvision fetches
    sklearn:      the one that scikit-learn brings along
    folder:       a folder for each class, below train/ and test/ where these are there
    arrays:       a .npz of images uint8 [N, H, W] or [N, H, W, C] and labels [N]
    labels:       what tells the class in a folder: the folders in it, or UTKFace's file names
    """

    torchvision: Archive | None = None
    sklearn: Literal["digits"] | None = None
    folder: Name | None = None
    arrays: Name | None = None
    labels: Labels = later("folders")

    @model_validator(mode="after")
    def _one(self) -> "Source":
        places = ("torchvision", "sklearn", "folder", "arrays")
        if sum(getattr(self, name) is not None for name in places) != 1:
            raise ValueError(f"needs one of {', '.join(places)}")
        if self.labels != "folders" and self.folder is None:
            raise ValueError("labels goes with folder")
        return self


class DatasetConfig(DataConfig):
    """The whole of configs/data.yaml.

    size:         of the images, one number or [height, width]; others are cut and resized to it
    mean, std:    of each channel, of values in [0, 1], for the classifiers' first layer
    member_list:  a file in configs/ that names the members; null: drawn by the seed
    limit:        at most so many images of a source that has no training and test set of its own; null: all
    """

    source: Source
    size: Side | Annotated[list[Side], Field(min_length=2, max_length=2)]
    channels: Literal[1, 3]
    classes: Annotated[int, Field(ge=2, le=MOST_CLASSES)]
    mean: list[Share]
    std: list[PositiveFloat]
    member_list: Annotated[str, Field(pattern=r"^[^/\\]+$")] | None = later(None)
    limit: Positive | None = later(None)

    @model_validator(mode="after")
    def _by_channel(self) -> "DatasetConfig":
        for name in ("mean", "std"):
            count = len(getattr(self, name))
            if count != self.channels:
                raise ValueError(f"{name} has {count} values, but there are {self.channels} channels")
        return self

    @property
    def image_size(self) -> Size:
        return self.size if isinstance(self.size, int) else size_of(*self.size)

    @property
    def spec(self) -> ImageSpec:
        return ImageSpec(self.classes, self.channels, self.image_size, tuple(self.mean), tuple(self.std))

    @property
    def sizes(self) -> DataConfig:
        """Only how the images are shared out, as a partition keeps it."""
        return DataConfig(members=self.members, reference=self.reference, validation=self.validation)
