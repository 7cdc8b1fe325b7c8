"""Write a dataset's trained models in the published format."""

from pathlib import Path

from common.data import permutations
from common.experiment.evaluate import require_inputs
from common.experiment.experiment import Experiment
from common.experiment.fence import load_diffusion_model
from common.experiment.plan import Item
from common.experiment.subjects import load_classifier
from common.formats import published
from common.runtime import checkpoints, ownership, storage
from common.runtime.errors import UserError
from common.runtime.paths import DatasetFolder
from common.runtime.subject import Subject

READS = ("data", "classifier")  # YAML files


def plan(experiment: Experiment, subject: Subject, out: Path | None) -> list[Item]:
    there = DatasetFolder(out or experiment.folder.exported)
    paths = (there.classifier(subject), there.ddpm, there.ddpm_flags, there.root / experiment.folder.permutation.name)
    return [Item(experiment.folder.shown(path), "there" if path.is_file() else "not there") for path in paths]


def export(experiment: Experiment, subject: Subject, out: Path | None) -> None:
    """Write a classifier, the diffusion model and the permutation as the published code reads them.

    Raises UserError where another file is in the place of one of them.
    """
    if subject.model != "resnet":
        raise UserError(f"--model {subject.model}: the published format has names for a ResNet's weights only (resnet)")
    folder, there = experiment.folder, DatasetFolder(out or experiment.folder.exported)
    require_inputs(experiment, subject)
    # loaded once, so that no file is handed on that an evaluation would refuse
    load_classifier(experiment, subject)
    load_diffusion_model(experiment)
    classifier = folder.classifier(subject)
    state = checkpoints.read(classifier, expect={"state_dict": dict}).content
    # what the published format has no place for (MemGuard's defence classifier, the settings) stays under its own key
    state["state_dict"] = published.published_form(state["state_dict"], source=str(classifier))
    files = {
        there.classifier(subject): checkpoints.to_bytes(state),
        there.ddpm: folder.ddpm.read_bytes(),
        there.ddpm_flags: folder.ddpm_flags.read_bytes(),
        there.root / folder.permutation.name: permutations.pickled(experiment.partition.permutation.order),
    }
    with ownership.locked(there.root, given=True):
        for path in files:
            storage.sweep(path, given=True)
        others = [path for path, data in files.items() if path.is_file() and path.read_bytes() != data]
        if others:
            raise UserError(f"{others[0]} is there already and is another file: move it away, or give another --out")
        for path, data in files.items():
            storage.write_bytes(path, data)
            print(f"exported: {path}")
