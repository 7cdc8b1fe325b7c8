import shutil

from common.experiment import evaluate
from common.experiment.experiment import Experiment
from common.runtime import checkpoints
from common.runtime.paths import DatasetFolder
from common.runtime.subject import Subject


def banks(folder, overrides):
    """The bank of the paper's fence, and that of near-copies."""
    experiment = Experiment.at(folder, device="cpu", overrides=overrides)
    settings = evaluate.settings_for(experiment, Subject(), ())
    models = evaluate.load_models(experiment, settings)
    behind = evaluate.fenced_population(experiment, settings, models, fence=settings.fence.of("paper"))
    return behind.bank.folder, behind.near.folder


def test_no_bank_of_another_normalisation_is_read(trained, tmp_path):
    folder = DatasetFolder(shutil.copytree(trained, tmp_path / "copy") / "digits")
    path = folder.classifier(Subject())
    content = checkpoints.read(path, expect={}).content
    content["made_from"].pop("normalisation", None)  # a checkpoint that does not say it fits any
    checkpoints.save(path, content)
    of_each = [banks(folder, {"data": {name: [0.9]}} if name else {}) for name in (None, "mean", "std")]
    assert len({bank for pair in of_each for bank in pair}) == 6
