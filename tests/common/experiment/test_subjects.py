import re
import shutil

import pytest

from common.experiment import train_defense
from common.experiment.experiment import Experiment
from common.experiment.subjects import load_classifier, undefended_weights
from common.models.classifiers import build_classifier
from common.runtime import checkpoints, storage
from common.runtime.errors import UserError
from common.runtime.paths import DatasetFolder
from common.runtime.subject import Subject


@pytest.fixture
def folder(trained, tmp_path):
    return DatasetFolder(shutil.copytree(trained, tmp_path / "copy") / "digits")


def experiment(folder, **settings):
    return Experiment.at(folder, device="cpu", overrides=settings)


def put(folder, model, **changes):
    """A checkpoint of a network as configs/classifier.yaml says it, as if it had been trained."""
    here, subject = experiment(folder), Subject(model)
    made_from = train_defense.job(here, subject, published=False).made_from.model_copy(update=changes)
    network = build_classifier(model, here.classifier_config, here.spec, seed=0).network
    checkpoints.save(folder.classifier(subject), {"state_dict": network.state_dict(), "made_from": made_from.record()})
    return subject


ANOTHER = [
    ("vit", {"classifier": {"vit.heads": 1}}, "vit.heads: 2 -> 1"),
    ("resnet", {"data": {"mean": [0.9]}}, "normalisation.mean: [0.3053] -> [0.9]"),
]


@pytest.mark.parametrize(("model", "settings", "changed"), ANOTHER)
def test_weights_of_another_network_are_refused_though_they_fit(folder, model, settings, changed):
    subject = put(folder, model)
    load_classifier(experiment(folder), subject)
    now, refused = experiment(folder, **settings), f"another network than {model} makes now ({changed}): "
    with pytest.raises(UserError, match=re.escape(refused)) as error:
        load_classifier(now, subject)
    assert f"train it again with `{subject.training_command}` in digits" in str(error.value)
    with pytest.raises(UserError, match=re.escape(refused)):
        undefended_weights(now, Subject(model, "memguard"), sha256=storage.file_sha256(folder.classifier(subject)))


def test_a_brought_network_is_to_be_brought_again(folder):
    subject = put(folder, "resnet", settings=None, brought=64 * "a")
    with pytest.raises(UserError, match=r"bring it again with .*undefended --from FILE"):
        load_classifier(experiment(folder, data={"std": [0.9]}), subject)


def test_dropout_and_what_a_checkpoint_does_not_say_make_no_other_network(folder):
    subject = put(folder, "vgg16_bn", normalisation=None)
    load_classifier(experiment(folder, classifier={"vgg16_bn.dropout": 0.1}, data={"mean": [0.9]}), subject)
    put(folder, "vgg16_bn", classifier=None)
    load_classifier(experiment(folder), subject)
