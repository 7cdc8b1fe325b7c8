"""Every defence trains every model, and saves all that it needs: stopped and started again it leaves the same bytes."""

import contextlib
import dataclasses

import pytest
import torch

from common.defenses import DEFENSES
from common.models import MODELS
from common.runtime import checkpoints
from common.runtime.images import to_float
from tests.common.defenses import TRAINING, UNDEFENDED, make_task, new_classifier, samples
from tests.common.formula import fill
from tests.common.no_float64 import NoFloat64

pytestmark = [
    pytest.mark.filterwarnings("ignore:Full backward hook is firing"),  # Opacus's, on the first layer
    pytest.mark.filterwarnings("ignore:There is a performance drop"),  # attention, sample by sample
]

SETTINGS = {
    "undefended": {},
    "selena": {"teachers": 2, "left_out": 1, "soft_labels": "probabilities"},
    "advreg": {
        "alpha": 4.0,
        "inference_batches": 2,
        "classifier_batches": 2,
        "inference_learning_rate": 0.01,
        "first_passes": 1,
    },
    "hamp": {"gamma": 0.8, "alpha": 0.01, "kl_reduction": "batchmean", "test_time_modification": True},
    "relaxloss": {"alpha": 0.9, "upper": 1.0},
    "dpsgd": {
        "max_grad_norm": 1.0,
        "delta": 1e-5,
        "target_epsilon": None,
        "noise_multiplier": 0.5,
        "physical_batch": 4,
    },
    "memguard": {
        "c1": 1.0,
        "c2": 10.0,
        "c3_first": 0.1,
        "c3_last": 1.0,
        "max_steps": 3,
        "step_length": 0.1,
        "distortion_budget": 1.0,
    },
}
ROUNDS = {"selena": 9}  # two teachers and the student
OF_PAPERS = {  # as in configs/original/
    "optimizer": "sgd",
    "momentum": 0.9,
    "augmentation": "crop_flip",
    "schedule": "step",
    "milestones": [1, 2],
    "factor": 0.2,
}


def run(folder, name, model="resnet", *, machine=contextlib.nullcontext, **more):
    defense = DEFENSES[name]
    config = defense.config(**(TRAINING | {"epochs": 3, "learning_rate": 0.01} | SETTINGS[name] | more))
    task = make_task(folder, config, group_norm=defense.group_norm, model=model)
    checkpoints.save(folder / UNDEFENDED, {"state_dict": fill(new_classifier(model=model)).network.state_dict()})
    task = dataclasses.replace(task, selection=samples(9, seed=5))
    with machine():
        defense.train(task)


def files(folder):
    """All that is left but the seconds it took."""
    below = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".seconds.json"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in below}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folders = {name: tmp_path_factory.mktemp(name) for name in DEFENSES}
    for name, folder in folders.items():
        run(folder, name)
    return {name: files(folder) for name, folder in folders.items()}


def stop_after(saves, monkeypatch):
    """A user interrupts after so many rounds have been saved."""
    save, done = checkpoints.save, []

    def save_and_stop(path, state):
        save(path, state)
        done.extend([path] if path.suffix == ".progress" else [])
        if len(done) == saves:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "save", save_and_stop)


@pytest.mark.parametrize(
    ("name", "saves"), [(name, saves) for name in DEFENSES for saves in range(1, ROUNDS.get(name, 3) + 1)]
)
def test_stopped_after_any_round_it_ends_with_the_same_bytes(tmp_path, uninterrupted, monkeypatch, name, saves):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(saves, patch)
        run(tmp_path, name)
    torch.manual_seed(saves)  # what another process would find
    run(tmp_path, name)
    assert files(tmp_path) == uninterrupted[name]


@pytest.mark.parametrize("name", ["undefended", "selena", "hamp", "relaxloss"])
def test_so_it_does_as_the_defences_own_papers_train(tmp_path, uninterrupted, monkeypatch, name):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(whole, name, **OF_PAPERS)
    for saves in (1, 1):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            stop_after(saves, patch)
            run(parts, name, **OF_PAPERS)
    torch.manual_seed(7)
    run(parts, name, **OF_PAPERS)
    assert files(parts) == files(whole) != uninterrupted[name]
    run(tmp_path / "no float64", name, machine=NoFloat64, **OF_PAPERS)


@pytest.mark.parametrize("name", ["undefended", "advreg", "dpsgd"])
def test_dropout_is_drawn_by_name(tmp_path, monkeypatch, name):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(whole, name, "vgg16_bn")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(2, patch)
        run(parts, name, "vgg16_bn")
    torch.manual_seed(7)
    run(parts, name, "vgg16_bn")
    assert files(parts) == files(whole)


@pytest.mark.parametrize("model", [model for model in MODELS if model != "resnet"])
@pytest.mark.parametrize("name", DEFENSES)
def test_every_defence_trains_every_model_and_answers_for_it(tmp_path, name, model):
    run(tmp_path, name, model)
    state = checkpoints.read(tmp_path / "defense.pth.tar", expect={"state_dict": dict}).content
    defense = DEFENSES[name]
    classifier = new_classifier(group_norm=defense.group_norm, model=model)
    start = classifier.network.state_dict()
    assert any(not torch.equal(value, start[key]) for key, value in state["state_dict"].items())
    checkpoints.load_weights(classifier.network, state["state_dict"], path=tmp_path)
    config = defense.config(**(TRAINING | SETTINGS[name]))
    x = to_float(samples(4).images)
    answers = defense.wrap(classifier, state, config, seed=0, path=tmp_path).eval()(x)
    assert answers.shape == (4, 3) and answers.isfinite().all()
    assert torch.equal(answers.argmax(dim=1), classifier(x).argmax(dim=1))


@pytest.mark.parametrize("name", DEFENSES)
def test_a_device_without_float64_will_do(tmp_path, name):
    run(tmp_path, name, machine=NoFloat64)
    defense, x = DEFENSES[name], to_float(samples(4).images)
    state = checkpoints.read(tmp_path / "defense.pth.tar", expect={}).content
    classifier = new_classifier(group_norm=defense.group_norm)
    config = defense.config(**(TRAINING | SETTINGS[name]))
    with NoFloat64():
        assert defense.wrap(classifier, state, config, seed=0, path=tmp_path).eval()(x).isfinite().all()
