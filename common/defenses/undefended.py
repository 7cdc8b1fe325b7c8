"""No defence: plain training, the baseline that every defence and Diffence is compared with."""

from common.config import TrainingConfig
from common.defenses.base import Defense, train_on_members

DEFENSE = Defense(config=TrainingConfig, train=train_on_members)
