"""Where things are in a dataset folder: the only path literals of the project."""

import re
from dataclasses import dataclass
from pathlib import Path

from common.runtime.errors import UserError
from common.runtime.subject import Subject

PACKAGE = Path(__file__).resolve().parents[1]
CLONED = (PACKAGE.parent / "all-train-all.sh").is_file()  # else installed from a wheel
REPOSITORY = PACKAGE.parent if CLONED else Path.cwd()
"""Where the dataset folders are: the clone's, or those in the folder where an installed package was started."""
PAPER_RESULTS = PACKAGE / "paper_results.yaml"
EVALUATION = PACKAGE / "configs" / "evaluation.yaml"  # where no dataset folder says otherwise
PAPER_ITEMS = Path("docs") / "paper"  # below the repository
PAGE = "report.html"  # in every result folder
FENCED = "_w_diffence"  # ends the name of a result folder with Diffence


def dataset_names(root: Path = REPOSITORY) -> tuple[str, ...]:
    """The dataset folders of the repository: those with a configs/data.yaml."""
    return tuple(sorted(path.parents[1].name for path in root.glob("*/configs/data.yaml")))


@dataclass(frozen=True)
class DatasetFolder:
    """One of cifar10/, cifar100/, svhn/, digits/, or a user's own; the folder's name is the dataset's.

    seed:  of an evaluation over several seeds, each of which has all that depends on it in a folder of its own; None
           is the dataset folder itself
    """

    root: Path
    seed: int | None = None

    @property
    def name(self) -> str:
        return self.root.name

    @property
    def work(self) -> Path:
        """Where partition, models and results are."""
        return self.root if self.seed is None else self.root / "seeds" / str(self.seed)

    def of_seed(self, seed: int) -> "DatasetFolder":
        return DatasetFolder(self.root, seed)

    def seeds(self) -> list[int]:
        """Those that have a folder of their own."""
        return sorted(int(path.name) for path in (self.root / "seeds").glob("*") if path.name.isdecimal())

    def everywhere(self) -> list["DatasetFolder"]:
        """The dataset folder itself and those of its seeds, which all have the same raw data and prepared images."""
        whole = DatasetFolder(self.root)
        return [whole, *map(whole.of_seed, whole.seeds())]

    @property
    def raw_data(self) -> Path:
        return self.root / "data" / "raw"

    @property
    def prepared(self) -> Path:
        """Images that are no archive's, as a memory map."""
        return self.root / "data" / "prepared"

    def member_list(self, name: str) -> Path:
        return self.root / "configs" / name

    @property
    def partition(self) -> Path:
        return self.work / "data" / "partition.json"

    @property
    def permutation(self) -> Path:
        """Where a permutation of the training set is looked for: cifar_shuffle.pkl, svhn_shuffle.pkl as published."""
        return self.work / f"{self.name.rstrip('0123456789')}_shuffle.pkl"

    def scripts(self) -> list[Path]:
        """What all dataset folders have alike."""
        patterns = ("*.py", "diff_defense/*.py", "evaluate_MIAs/*.py", "evaluate_MIAs/*.sh")
        return sorted(path for pattern in patterns for path in self.root.glob(pattern))

    def config(self, name: str) -> Path:
        return self.root / "configs" / f"{name}.yaml"

    def classifier(self, subject: Subject) -> Path:
        folder = self.work / "final-all-models" / subject.model_folder
        if subject.shadow is None:
            return folder / f"{subject.name}.pth.tar"
        protected = ".undefended" if subject.protected_by else ""
        return self.shadows(subject) / f"{subject.shadow:04}{protected}.pth.tar"

    def shadows(self, subject: Subject) -> Path:
        """The store of a subject's shadow models; those with canaries or diffusion models of their own have another."""
        name = subject.protected_by or subject.name
        return self.work / "final-all-models" / subject.model_folder / f"{name}.shadows{_kind(subject)}"

    @property
    def ddpm(self) -> Path:
        return self.work / "diff_defense" / "diff_models" / "half.pt"

    @property
    def fence_key(self) -> Path:
        """The secret of the fence that serves; no report, checkpoint or export names what is in it."""
        return self.ddpm.with_name("fence.key")

    @property
    def ddpm_flags(self) -> Path:
        return self.ddpm.with_suffix(".txt")

    def trained(self) -> list[Path]:
        """The classifiers and the diffusion model that are there."""
        found = (self.work / "final-all-models").glob("*/*.pth.tar")
        return [*sorted(found), *([self.ddpm] if self.ddpm.is_file() else [])]

    @property
    def exported(self) -> Path:
        return self.work / "exported"

    def train_log(self, command: str) -> Path:
        """What the last run of a training command printed: train_defense-selena.log, train_defense-selena-vit.log."""
        name = re.sub(r" (--\w+ )?", "-", command.replace(".py", "")).replace(":", ".")
        return self.work / "final-all-models" / "logs" / f"{name}.log"

    @property
    def banks(self) -> Path:
        return self.work / "evaluate_MIAs" / "banks"

    @property
    def paper(self) -> Path:
        """Verdicts that the paper's tables and figures are made of."""
        return self.work / "evaluate_MIAs" / "paper"

    @property
    def all_results(self) -> Path:
        """Results of every classifier, each in a folder of its own, and the page over all of them."""
        return self.work / "evaluate_MIAs" / "results"

    def results(self, subject: Subject, *, diffence: bool) -> Path:
        """Results of the default model have no folder of their own between: results/selena, results/vgg16_bn/selena."""
        results = self.all_results
        of_model = results if subject.model == "resnet" else results / subject.model_folder
        return of_model / (subject.name + (FENCED if diffence else ""))

    def shadow_results(self, subject: Subject) -> Path:
        """Of an audit by shadow models."""
        beside = self.results(subject, diffence=False)
        return beside.with_name(f"{beside.name}_shadows{_kind(subject)}")

    def shadow_reports(self) -> list[Path]:
        """Of every audit by shadow models there is, those of half-written folders left out."""
        results = self.all_results
        found = [*results.glob("*/shadows.json"), *results.glob("*/*/shadows.json")]
        return sorted(path for path in found if not path.parent.name.startswith("."))

    def reports(self) -> list[Path]:
        """Every report.json there is, those of half-written folders left out."""
        results = self.all_results
        found = [*results.glob("*/report.json"), *results.glob("*/*/report.json")]
        return sorted(path for path in found if not any(p.startswith(".") for p in path.relative_to(results).parts))

    def shown(self, path: Path) -> str:
        """A path as a user at the repository's top would write it."""
        return str(path.relative_to(self.root.parent)) if path.is_relative_to(self.root.parent) else str(path)

    def require(self, path: Path, command: str) -> None:
        """Raise UserError with the command that makes the file, where it is missing."""
        if not path.is_file():
            raise UserError(f"{self.shown(path)} not found: make it with `{command}` in {self.name}/")


def _kind(subject: Subject) -> str:
    """Ends the name of a folder of shadow models."""
    among = f"-{subject.canaries}-canaries" if subject.canaries else ""
    return among + ("-own-diffusion" if subject.own_diffusion else "")
