"""reproduce.sh in miniature: what is missing is trained, verdicts are those of an evaluation and are kept."""

import json
import shutil
from pathlib import Path

import pytest

from tests import miniature, served
from tests.miniature import files_below


@pytest.fixture
def root(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "copy"))


def reproduce(root: Path, *arguments: str) -> str:
    done = miniature.run(root, ".", "bash", "reproduce.sh", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_figures_are_made_from_verdicts_that_are_kept(root: Path) -> None:
    said = reproduce(root, "figure4", "figure10", "figure1", "--dry-run")
    (page,) = [line for line in said.splitlines() if line.startswith("docs/paper/figure10.md")]
    assert "not there" in page and not (root / "docs").exists()
    said = reproduce(root, "figure4", "figure10", "figure1")
    assert "figure4.md: Figure 4" in said
    pages = root / "docs" / "paper"
    made = files_below(pages)
    assert {"figure4.md", "figure4-digits.png", "figure10.md", "figure1-digits-members.png", "README.md"} <= made.keys()
    shutil.rmtree(pages)
    reproduce(root, "figure4", "figure10", "figure1")
    assert files_below(pages) == made


def test_scenarios_are_those_of_an_evaluation(root: Path) -> None:
    """The same numbers come by the item's way and by evaluate_mia.sh, scenario by scenario."""
    script = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from common.experiment.experiment import Experiment\n"
        "from common.paper.bench import AS_PUBLISHED, Bench\n"
        "from common.paper.table3 import scenarios\n"
        "from common.runtime.paths import DatasetFolder\n"
        "bench = Bench(Experiment.at(DatasetFolder(Path('digits').resolve()), device='cpu'))\n"
        "found = scenarios(bench, 'undefended', AS_PUBLISHED)\n"
        "bests = [(e.without.best.auc, e.fenced.best.auc, e.fenced.best.balanced_accuracy) for e in found]\n"
        "print('FOUND', json.dumps(bests))\n"
    )
    found = []
    for _ in range(2):  # made, and read where they are kept
        done = miniature.run(root, ".", "python", "-c", script)
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout.split("FOUND")[1]))
    kept = files_below(root / "digits" / "evaluate_MIAs" / "paper")
    assert found[0] == found[1] and len(kept) == 1 + 3  # without a fence, and in each scenario
    for number, (alone, auc, accuracy) in enumerate(found[0], start=1):
        options = ("--defense", "undefended", "--protocol", "published", "--scenario", str(number))
        done = served.run(root, "digits/evaluate_MIAs", "evaluate.py", *options)
        assert done.returncode == 0, done.stderr
        results = root / "digits" / "evaluate_MIAs" / "results"
        bests = [
            json.loads((results / name / "report.json").read_text())["protocols"]["published"]["best"]
            for name in ("undefended", "undefended_w_diffence")
        ]
        assert [bests[0]["auc"], bests[1]["auc"], bests[1]["balanced_accuracy"]] == [alone, auc, accuracy]


def test_pages_write_over_no_readme_that_is_not_theirs(root: Path) -> None:
    (root / "README.md").write_text("mine")
    done = miniature.run(root, ".", "bash", "reproduce.sh", "table8", "--out", ".")
    assert done.returncode == 1 and "README.md is no index of the paper's items" in done.stderr


def test_a_plan_lists_what_items_train_for_themselves(root: Path) -> None:
    models = root / "digits" / "diff_defense" / "diff_models"
    shutil.copy(models / "half.pt", models / "both.pt")  # of other settings
    said = reproduce(root, "table7", "figure7", "figure8", "figure13", "figure12", "--dry-run").splitlines()
    names = ("both.pt", "photographs.pt", "vit/selena", "resnet/selena.shadows-32-canaries/")
    rows = {name: [line for line in said if name in line] for name in names}
    assert all(len(found) == 1 for found in rows.values()), rows
    assert "trained anew: ddpm.training.trained_on" in rows["both.pt"][0] and " MB " in rows["both.pt"][0]
    assert "not there" in rows["photographs.pt"][0] and "not there" in rows["vit/selena"][0]


def test_two_processes_share_the_training_and_make_the_same_page(root: Path, tmp_path: Path) -> None:
    two = Path(shutil.copytree(root, tmp_path / "two"))
    reproduce(root, "table4")
    reproduce(two, "table4", "--nproc", "2")
    assert files_below(two / "docs") == files_below(root / "docs")
    left = [line for line in reproduce(two, "table4", "--dry-run").splitlines() if "original_" in line]
    assert len(left) == 6 and all("up to date" in line for line in left)


def test_another_diffusion_model_takes_the_verdict_without_a_fence_from_where_it_is_kept(root: Path) -> None:
    script = (
        "from dataclasses import replace\n"
        "from pathlib import Path\n"
        "from common.experiment.experiment import Experiment\n"
        "from common.paper.bench import THRESHOLDS, Bench\n"
        "from common.runtime.paths import DatasetFolder\n"
        "from common.runtime.subject import Subject\n"
        "folder = DatasetFolder(Path('digits').resolve())\n"
        "own = Experiment.at(folder, device='cpu')\n"
        "for experiment in (own, replace(own, diffusion=DatasetFolder(Path('svhn').resolve()).ddpm)):\n"
        "    bench = Bench(experiment)\n"
        "    (found,) = bench.judged(Subject(), THRESHOLDS, [bench.fence(scenario=1)])\n"
        "    print('FOUND', found.without.best.auc, found.fenced.best.auc, len(list(folder.paper.iterdir())))\n"
    )
    done = miniature.run(root, ".", "python", "-c", script)
    assert done.returncode == 0, done.stderr
    (_, alone, fenced, kept), (_, again, behind_other, kept_then) = map(str.split, done.stdout.splitlines())
    assert alone == again and fenced != behind_other and (int(kept), int(kept_then)) == (2, 3)


def test_an_unknown_item_is_refused(root: Path) -> None:
    done = miniature.run(root, ".", "bash", "reproduce.sh", "table99")
    assert done.returncode == 2 and "table99" in done.stderr


def test_what_only_the_user_can_bring_is_asked_for_before_anything_is_trained(root: Path) -> None:
    shutil.rmtree(root / "svhn" / "final-all-models")
    done = miniature.run(root, ".", "bash", "reproduce.sh", "table8", "figure13", "--dataset", "svhn")
    assert done.returncode == 1 and "--other-diffusion" in done.stderr
    done = miniature.run(
        root, ".", "bash", "reproduce.sh", "figure13", "--dataset", "svhn", "--other-diffusion", "no.pt"
    )
    assert done.returncode == 1 and "no.pt not found" in done.stderr
    assert not (root / "svhn" / "final-all-models").exists()
    said = reproduce(root, "all", "--dataset", "svhn", "--dry-run")
    assert "figure13 is left out: " in said and "docs/paper/figure12-svhn.md" in said
    assert "docs/paper/figure13-svhn.md" not in said


def test_a_plan_says_how_many_gpu_hours_are_missing(root: Path) -> None:
    shutil.rmtree(root / "svhn" / "final-all-models")
    said = reproduce(root, "table8", "--dataset", "svhn", "--dry-run")
    hours = (
        0.4 + 9.3 + 6.8 + 0.5 + 0.4 + 0.6 + 0.4
    )  # the paper's, MemGuard's as undefended; the diffusion model is there
    assert f"about {hours:.0f} GPU hours of training are missing" in said
    assert "GPU hours" not in reproduce(root, "table8", "--dry-run")  # of digits nobody says how long it would take
