"""No defence: plain training, the baseline that every defence and Diffence is compared with."""

from common.defenses.base import Defense, train_on_members
from common.training.classifier import TrainingConfig

DEFENSE = Defense(config=TrainingConfig, train=train_on_members)
