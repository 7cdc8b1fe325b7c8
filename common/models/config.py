"""What configs/classifier.yaml says: the size of each classifier family."""

from typing import Annotated

from pydantic import Field, model_validator

from common.runtime.config import Few, Fraction, Positive, Strict, Width


class ResNetConfig(Strict):
    width: Width  # channels of the first stage's 3x3 convolutions; each further stage has twice as many
    blocks: Annotated[list[Few], Field(min_length=1, max_length=6)]  # residual blocks per stage


class DenseNetConfig(Strict):
    growth_rate: Width  # channels that each layer adds
    init_features: Width  # channels of the stem
    blocks: Annotated[list[Few], Field(min_length=1, max_length=6)]  # layers per dense block


VGGStage = Annotated[
    list[Width], Field(min_length=1, max_length=100)
]  # channels of its convolutions; it ends with a 2x2 pooling


class VGGConfig(Strict):
    stages: Annotated[list[VGGStage], Field(min_length=1, max_length=6)]
    hidden: Width  # width of the two fully connected layers
    dropout: Fraction


class ViTConfig(Strict):
    patch_size: Positive
    layers: Few
    heads: Few
    hidden: Width  # width of a token
    mlp: Width  # width inside an encoder layer's MLP

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> "ViTConfig":
        if self.hidden % self.heads:
            raise ValueError(f"hidden ({self.hidden}) must be a multiple of heads ({self.heads})")
        return self


class ClassifierConfig(Strict):
    """configs/classifier.yaml: one entry for each value of --model."""

    resnet: ResNetConfig
    resnet50: ResNetConfig
    densenet121: DenseNetConfig
    vgg16_bn: VGGConfig
    vit: ViTConfig
