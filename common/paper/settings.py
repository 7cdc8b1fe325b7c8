"""What of a dataset's settings is other than those of the paper's datasets, as the configs of both say it.

The paper's, or its code's, are those of common/configs/, which a dataset's own replace key by key.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from common.defenses import DEFENSES
from common.experiment.experiment import Experiment
from common.paper import words
from common.paper.bench import Bench
from common.paper.interface import Item
from common.reports.paper import PAPER_DATASETS
from common.runtime.paths import PACKAGE, DatasetFolder
from common.runtime.subject import Subject

FAMILIES = {"resnet": "ResNet-18", "resnet50": "ResNet-50", "densenet121": "DenseNet-121", "vgg16_bn": "VGG-16"}
FAMILIES |= {"vit": "ViT-Ti"}
BY_DATASET = ("alpha", "gamma", "learning_rate")  # which the paper's datasets do not have alike
UNET, TRAINING = ("ch", "ch_mult", "num_res_blocks"), ("total_steps", "batch_size", "only_steps")
KEYS = {"ch": "channels", "ch_mult": "their multiples by level", "only_steps": "noise steps learnt"}
KEYS |= {"blocks": "blocks of each stage"}
KEYS |= {"left_out": "teachers that never see a member", "width": "channels of the first stage"}
KEYS |= {"num_res_blocks": "residual blocks of a level", "total_steps": "training steps", "mlp": "width of its MLPs"}


def departures(item: Item, bench: Bench) -> list[str]:
    """Of networks, training and diffusion model, a sentence for each in which something is other."""
    trained = item.others(bench.experiment) or [(bench.experiment, Subject(defense=name)) for name in item.defenses]
    models = dict.fromkeys(subject.model for _, subject in trained)
    found = [_network(bench, model) for model in models]
    return [sentence for sentence in (*found, _training(bench, trained), _diffusion(bench)) if sentence]


def _network(bench: Bench, model: str) -> str:
    ours, theirs = (getattr(of.classifier_config, model) for of in (bench.experiment, _shared(bench.experiment)))
    found = differing(ours.model_dump(), theirs.model_dump())
    if not found:
        return ""
    family = FAMILIES.get(model, model)
    return (
        f"In place of {family} {bench.name} has a network of its family (in brackets {family}'s values): "
        f"{', '.join(found)}."
    )


def _training(bench: Bench, trained: Sequence[tuple[Experiment, Subject]]) -> str:
    """What is other, with the settings that have it."""
    who: dict[str, dict[str, None]] = {}
    for experiment, subject in trained:
        config = DEFENSES[subject.defense].config
        ours, theirs = (of.config(subject.settings, config).model_dump() for of in (experiment, _shared(experiment)))
        keys = [key for key in ours if bench.name not in PAPER_DATASETS or key not in BY_DATASET]
        for each in differing({key: ours[key] for key in keys}, theirs):
            who.setdefault(each, {})[subject.settings] = None
    together: dict[tuple[str, ...], list[str]] = {}
    for each, names in who.items():
        together.setdefault(tuple(names), []).append(each)
    parts = [f"{', '.join(found)} for {words.listed(names)}" for names, found in together.items()]
    return f"Training on {bench.name} (in brackets as on CIFAR-10): {'; '.join(parts)}." if parts else ""


def _diffusion(bench: Bench) -> str:
    ours, theirs = (of.ddpm_config.model_dump() for of in (bench.experiment, _shared(bench.experiment)))
    found = []
    for part, keys in (("unet", UNET), ("training", TRAINING)):
        # what came later is not written down where it is the default
        of_part = [{key: each[part].get(key) for key in keys} for each in (ours, theirs)]
        found += differing(*of_part)
    return f"The diffusion model of {bench.name} (in brackets as on CIFAR-10): {', '.join(found)}." if found else ""


def _shared(experiment: Experiment) -> Experiment:
    """As if the dataset said nothing of its own."""
    return replace(experiment, folder=DatasetFolder(PACKAGE))


def differing(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Each setting that is other: ``epochs 50 (100)``.

    >>> differing({"epochs": 50, "factor": 0.1, "only_steps": [1, 300]}, {"epochs": 100, "factor": 0.1})
    ['epochs 50 (100)', 'noise steps learnt 1 to 300 (all)']
    """
    return [
        f"{KEYS.get(key, key.replace('_', ' '))} {_value(key, value)} ({_value(key, theirs.get(key))})"
        for key, value in ours.items()
        if value != theirs.get(key)
    ]


def _value(key: str, value: Any) -> str:
    if value is None:
        return "all" if key == "only_steps" else "none"
    if isinstance(value, list):
        of_lists = any(isinstance(each, list) for each in value)
        between = " to " if key == "only_steps" else "; " if of_lists else ", "
        return between.join(_value(key, each) for each in value)
    return f"{value:,}" if isinstance(value, int) else str(value)
