"""No defence: plain training, the baseline that every defence and Diffence is compared with."""

from common.config import TrainingConfig
from common.defenses.base import Defense, Task
from common.training import train_classifier


def train(task: Task) -> None:
    classifier = task.new_classifier(task.seed)
    train_classifier(task.job, classifier, task.members, task.config, selection=task.selection, seed=task.seed)


DEFENSE = Defense(config=TrainingConfig, train=train)
