"""What the YAML files may say. One model per file; every mistake of a file is reported in one error."""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from common.errors import UserError

Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Noising = Literal["ddpm", "published"]


class Strict(BaseModel):
    """Unknown keys, missing keys and values of another type are mistakes; nothing is converted in silence."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class DataConfig(Strict):
    """configs/data.yaml: how the training and the test set are shared out (see partition.py)."""

    members: Positive  # the classifier's training set
    reference: Positive  # other samples of the training set, which defences may use
    validation: NonNegative  # the first of the reference set, kept for choosing checkpoints only

    @model_validator(mode="after")
    def _validation_fits(self) -> "DataConfig":
        if self.validation >= self.reference:
            raise ValueError(f"validation ({self.validation}) must be smaller than reference ({self.reference})")
        return self


class ResNetConfig(Strict):
    width: Positive  # channels of the first stage's 3x3 convolutions; each further stage has twice as many
    blocks: Annotated[list[Positive], Field(min_length=1, max_length=6)]  # residual blocks per stage


class DenseNetConfig(Strict):
    growth_rate: Positive  # channels that each layer adds
    init_features: Positive  # channels of the stem
    blocks: Annotated[list[Positive], Field(min_length=1, max_length=6)]  # layers per dense block


VGGStage = Annotated[list[Positive], Field(min_length=1)]  # channels of its convolutions; it ends with a 2x2 pooling


class VGGConfig(Strict):
    stages: Annotated[list[VGGStage], Field(min_length=1, max_length=6)]
    hidden: Positive  # width of the two fully connected layers
    dropout: Fraction


class ViTConfig(Strict):
    patch_size: Positive
    layers: Positive
    heads: Positive
    hidden: Positive  # width of a token
    mlp: Positive  # width inside an encoder layer's MLP

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


class UNetConfig(Strict):
    ch: Annotated[int, Field(gt=0, multiple_of=32)]  # GroupNorm has 32 groups
    ch_mult: Annotated[list[Positive], Field(min_length=1)]
    attn: list[NonNegative]  # levels with attention
    num_res_blocks: Positive
    dropout: Fraction

    @model_validator(mode="after")
    def _attention_levels_exist(self) -> "UNetConfig":
        beyond = [level for level in self.attn if level >= len(self.ch_mult)]
        if beyond:
            raise ValueError(f"attn names level {beyond[0]}, but ch_mult has levels 0 to {len(self.ch_mult) - 1}")
        return self


class ScheduleConfig(Strict):
    T: Positive
    beta_1: Annotated[float, Field(gt=0, lt=1)]
    beta_T: Annotated[float, Field(gt=0, lt=1)]

    @model_validator(mode="after")
    def _betas_rise(self) -> "ScheduleConfig":
        if self.beta_1 > self.beta_T:
            raise ValueError(f"beta_1 ({self.beta_1}) must not exceed beta_T ({self.beta_T})")
        return self


class DDPMTraining(Strict):
    total_steps: Positive
    steps_per_round: Positive  # between two saved states
    batch_size: Positive
    learning_rate: PositiveFloat
    warmup_steps: NonNegative
    ema_decay: Fraction
    grad_clip: PositiveFloat
    horizontal_flip: bool
    sample_steps: Positive  # DDIM steps of the picture of samples

    @model_validator(mode="after")
    def _whole_rounds(self) -> "DDPMTraining":
        if self.total_steps % self.steps_per_round:
            raise ValueError(f"total_steps ({self.total_steps}) must be a multiple of {self.steps_per_round}")
        return self


class DDPMConfig(Strict):
    """configs/ddpm.yaml"""

    unet: UNetConfig
    schedule: ScheduleConfig
    training: DDPMTraining


class DiffenceConfig(Strict):
    """configs/diffence.yaml"""

    num_candidates: Positive  # N
    step: Positive  # T of the paper: how far to noise
    scenario: Annotated[int, Field(ge=1, le=3)]  # what the defender knows: members and non-members, members, neither
    noising: Noising  # see diffusion.published_noise for what the published code does
    group_size: Positive  # samples purified and saved together


class NNAttackConfig(Strict):
    epochs: Positive
    batch_size: Positive  # of each kind, members and non-members
    learning_rate: PositiveFloat
    decay_epoch: Positive  # the learning rate is divided by ten here
    validation: Annotated[float, Field(gt=0, lt=1)]  # part of the attack-fitting role that picks the epoch


class EvaluationConfig(Strict):
    """configs/evaluation.yaml"""

    num_sample: Positive  # at most so many members, and as many non-members, in each role
    bootstrap: Annotated[int, Field(ge=100)]  # resamples behind each 95 % interval
    nn_attack: NNAttackConfig


class TrainingConfig(Strict):
    """What every defence's YAML says about training a classifier."""

    epochs: Positive
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: PositiveFloat
    weight_decay: NonNegativeFloat
    checkpoint_selection: Literal["validation", "last", "test"]


Config = TypeVar("Config", bound=Strict)


def load(path: Path, model: type[Config]) -> Config:
    """Read and check a YAML file. Raises UserError naming the file and all of its mistakes."""
    try:
        content = _UniqueKeyLoader(path.read_text()).get_single_data()
    except FileNotFoundError:
        raise UserError(f"{path} not found: every dataset folder needs it") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OSError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    return parse(content, model, source=str(path))


def parse(content: Any, model: type[Config], *, source: str) -> Config:
    """Check plain content against a model; ``source`` names it in the error."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = [_mistake(dict(item)) for item in error.errors()]
        count = "1 mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
        shown = [*lines[:20], f"and {len(lines) - 20} more"] if len(lines) > 20 else lines
        raise UserError(f"{source}: {count}\n" + "\n".join(f"  {line}" for line in shown)) from None


def _mistake(error: dict[str, Any]) -> str:
    where = ".".join(map(str, error["loc"])) or "the file"
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown key"
    if error["type"] == "missing":
        return f"{where}: missing"
    found = "" if isinstance(error["input"], dict) else f", found {error['input']!r}"
    hint = " (YAML reads 1e-3 as text: write 1.0e-3)" if _looks_like_number(error["input"]) else ""
    return f"{where}: {error['msg'].removeprefix('Value error, ')}{found}{hint}"


def _looks_like_number(value: Any) -> bool:
    try:
        return isinstance(value, str) and "e" in value.lower() and float(value) is not None
    except ValueError:
        return False


class _UniqueKeyLoader(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys in silence; here that is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (list, dict)) or key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)
