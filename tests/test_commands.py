"""The real command lines, in miniature, on all four datasets."""

import hashlib
import json
import shutil
from pathlib import Path

import diffusers
import numpy as np
import pytest

from common.attacks import ATTACKS
from common.cli.summary import main as summary
from common.defenses import DEFENSES
from common.evaluation import departures
from common.evaluation.measures import MEASURES
from common.models import MODELS
from common.runtime import checkpoints
from tests import miniature, served
from tests.common.formats.test_guided_diffusion import IMPROVED
from tests.common.formats.test_guided_diffusion import save as save_guided
from tests.common.formula import fill
from tests.miniature import DATASETS, FEW, files_below, run

EVALUATE = ("digits/evaluate_MIAs", "evaluate.py", "--defense", "undefended")
FAST = {name for name, attack in ATTACKS.items() if attack.fast}
PUBLISHED_ATTACKS = {"confidence", "loss", "entropy", "modified_entropy", "nn"}


@pytest.mark.parametrize("dataset", DATASETS)
def test_whole_path(trained: Path, dataset: str) -> None:
    done = run(trained, f"{dataset}/evaluate_MIAs", "bash", "evaluate_mia.sh", "--defense", "undefended")
    assert done.returncode == 0, done.stderr
    assert "with Diffence" in done.stdout and "modified_entropy_per_class" in done.stdout
    results = trained / dataset / "evaluate_MIAs" / "results"
    plain, fenced = (
        json.loads((results / name / "report.json").read_text()) for name in ("undefended", "undefended_w_diffence")
    )
    for folder in ("undefended", "undefended_w_diffence"):
        for name in ("report.txt", "report.html", "roc.png", "phi.png", "copies.png", "reliability.png"):
            assert (results / folder / name).stat().st_size > 0
        assert (results / folder / "report.txt").read_text() in done.stdout
    assert (plain["dataset"], plain["defense"], plain["diffence"]) == (dataset, "undefended", False)
    assert fenced["diffence"] is True
    assert plain["accuracy"] == fenced["accuracy"]
    assert fenced["label_agreement"] == 1.0
    assert 0 <= fenced["raw_answer_rate"] <= 1
    for report in (plain, fenced):
        assert list(report["protocols"]) == ["held_out", "steady", "published"]
        assert set(report["protocols"]["held_out"]["attacks"]) == set(report["protocols"]["steady"]["attacks"]) == FAST
        assert set(report["protocols"]["published"]["attacks"]) == PUBLISHED_ATTACKS
        for content in report["protocols"].values():
            for row in content["attacks"].values():
                assert row["auc_ci"][0] <= row["auc"] <= row["auc_ci"][1]
                assert row["balanced_accuracy_ci"][0] <= row["balanced_accuracy"] <= row["balanced_accuracy_ci"][1]
                for rates, points in ((row["tpr_at_fpr"], row["tpr_points"]), (row["tnr_at_fnr"], row["tnr_points"])):
                    assert rates == {name: point["hits"] / point["of"] for name, point in points.items()}
                assert set(row["tpr_at_fpr"]) == {"0.001", "0.01"} and set(row["tnr_at_fnr"]) == {"0.001"}
            assert content["best"]["auc"] == max(row["auc"] for row in content["attacks"].values())
        held_out = report["protocols"]["held_out"]
        assert held_out["attacks"]["near_copies_64"]["queries"] == 64
        assert held_out["chosen"]["attack"] in FAST and held_out["not_run"].keys() == {"boundary"}
        assert sum(held_out["utility"]["bins"]["counts"]) == report["counts"]["final_test"]["non_members"]
        assert next(iter(report)) == "verdict" and report["verdict"].startswith("Shown one training image")
        assert {"counts", "config", "seed", "versions", "inputs", "seconds"} <= set(report)


@pytest.mark.parametrize("dataset", DATASETS)
def test_training_leaves_a_log_and_pictures(trained: Path, dataset: str) -> None:
    models = trained / dataset / "final-all-models" / "resnet"
    log = (models / "undefended.pth.tar.log.csv").read_text().splitlines()
    assert log[0] == "round,loss,train_accuracy,score" and len(log) == 1 + 3
    diffusion = trained / dataset / "diff_defense" / "diff_models"
    for name in ("half.pt", "half.txt", "samples.png", "purified.png"):
        assert (diffusion / name).stat().st_size > 0


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("defense", [name for name in DEFENSES if name != "undefended"])
def test_every_defence_trains_on_every_dataset_and_is_fenced(trained: Path, dataset: str, defense: str) -> None:
    done = served.run(trained, dataset, "train_defense.py", "--defense", defense)
    assert done.returncode == 0, done.stderr
    assert (trained / dataset / "final-all-models" / "resnet" / f"{defense}.pth.tar").is_file()
    done = served.run(trained, f"{dataset}/evaluate_MIAs", "evaluate.py", "--defense", defense, *FEW)
    assert done.returncode == 0, done.stderr
    results = trained / dataset / "evaluate_MIAs" / "results"
    plain, fenced = (
        json.loads((results / f"{defense}{suffix}" / "report.json").read_text()) for suffix in ("", "_w_diffence")
    )
    assert fenced["label_agreement"] == 1.0
    assert (plain["privacy"] is not None) == (defense == "dpsgd")
    assert fenced["privacy"] is None  # the diffusion model has seen the members without any guarantee


@pytest.mark.parametrize(
    ("dataset", "defense"), [("digits", "undefended"), ("cifar100", "undefended"), ("digits", "dpsgd")]
)
@pytest.mark.parametrize("model", [model for model in MODELS if model != "resnet"])
def test_every_model_trains_and_is_fenced(trained: Path, dataset: str, defense: str, model: str) -> None:
    options = ("--defense", defense, "--model", model)
    done = served.run(trained, dataset, "train_defense.py", *options)
    assert done.returncode == 0, done.stderr
    assert (trained / dataset / "final-all-models" / model / f"{defense}.pth.tar").is_file()
    done = served.run(trained, f"{dataset}/evaluate_MIAs", "evaluate.py", *options, *FEW)
    assert done.returncode == 0, done.stderr
    results = trained / dataset / "evaluate_MIAs" / "results" / model
    plain, fenced = (
        json.loads((results / f"{defense}{suffix}" / "report.json").read_text()) for suffix in ("", "_w_diffence")
    )
    assert fenced["label_agreement"] == 1.0 and plain["accuracy"] == fenced["accuracy"]


def test_a_missing_model_is_named_with_the_command_that_trains_it(trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(trained, root)
    shutil.rmtree(root / "digits" / "final-all-models" / "vit", ignore_errors=True)
    for folder, script, wanted in (
        ("digits", "train_defense.py", "undefended"),
        ("digits/evaluate_MIAs", "evaluate.py", "memguard"),
    ):
        done = served.run(root, folder, script, "--defense", "memguard", "--model", "vit")
        assert done.returncode == 1
        assert f"vit/{wanted}.pth.tar" in done.stderr
        assert f"python train_defense.py --defense {wanted} --model vit" in done.stderr


def test_the_published_settings_can_be_trained(trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(trained, root)
    done = served.run(root, "digits", "train_defense.py", "--defense", "hamp", "--published")
    assert done.returncode == 0, done.stderr
    state = served.run(root, "digits", "train_defense.py", "--defense", "hamp", "--set", "hamp.epochs=7", "--dry-run")
    assert state.returncode == 0 and "kl_reduction: mean -> batchmean" in state.stdout  # other settings: trained anew


def test_evaluating_again_reads_the_bank_and_gives_the_same_report(trained: Path) -> None:
    results = trained / "digits" / "evaluate_MIAs" / "results"
    shutil.rmtree(results, ignore_errors=True)
    served.run(trained, *EVALUATE)
    first = files_below(results)
    shutil.rmtree(results)
    banks = files_below(trained / "digits" / "evaluate_MIAs" / "banks")
    assert served.run(trained, *EVALUATE).returncode == 0
    assert files_below(trained / "digits" / "evaluate_MIAs" / "banks") == banks
    assert _without_seconds(files_below(results)) == _without_seconds(first)


def test_attacks_are_chosen_by_name(trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(trained, root)
    results = root / "digits" / "evaluate_MIAs" / "results" / "undefended_w_diffence"
    done = served.run(root, *EVALUATE, "--attacks", "loss", "--protocol", "held_out", "--latex", "--csv")
    assert done.returncode == 0, done.stderr
    header, *rows = (results / "scores.csv").read_text().splitlines()
    assert header == "fence,set,index,label,member,loss" and len(rows) == 2 * 2 * 12
    assert "loss & 1 & " in (results / "report.tex").read_text()
    page = (results / "report.html").read_text()
    for title in ("Most exposed images", "What the fence does to images", "Training", "Not tested, and why"):
        assert f">{title}</h2>" in page
    done = served.run(root, *EVALUATE, "--attacks", "work", "loss", "--protocol", "held_out")
    assert done.returncode == 0, done.stderr
    assert not (results / "scores.csv").exists() and not (results / "report.tex").exists()  # of the evaluation before
    report = json.loads((results / "report.json").read_text())
    assert set(report["protocols"]["held_out"]["attacks"]) == {"work", "loss"}
    assert not (results / "copies.png").exists()
    assert served.run(root, *EVALUATE, "--attacks", "wrok").returncode == 2
    assert "go with one report: leave out --departures" in served.run(root, *EVALUATE, "--csv", "--departures").stderr
    refused = served.run(root, *EVALUATE, "--csv", "--protocol", "published")
    assert refused.returncode == 1 and "held_out or steady" in refused.stderr


def test_several_seeds_are_evaluated_anew_and_what_is_finished_is_kept(trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(trained, root)
    seeds, before = root / "digits" / "seeds", files_below(root / "digits")
    defenses = ("--defense", "undefended", "selena")
    command = ("digits/evaluate_MIAs", "evaluate.py", "--attacks", "loss", "entropy", *defenses, "--seeds")
    left = served.run(root, *command, "4", "5", "--dry-run").stdout
    assert left.count("to do") == 4 and not seeds.exists()
    done = served.run(root, *command, "4")
    assert done.returncode == 0, done.stderr
    first = files_below(seeds)
    left = served.run(root, *command, "4", "5", "--dry-run").stdout
    assert left.count("finished") == 2 and left.count("to do") == 2
    done = served.run(root, *command, "4", "5")
    assert done.returncode == 0, done.stderr
    table = done.stdout[done.stdout.index("Mean and standard deviation") :]
    assert "undefended" in table and "selena" in table and "seeds 4, 5" in table and "±" in table
    after = files_below(seeds)
    assert {name: after[name] for name in first} == first  # not made again
    reports = [json.loads(after[f"{seed}/evaluate_MIAs/results/selena/report.json"]) for seed in (4, 5)]
    assert [report["seed"] for report in reports] == [4, 5]
    outside = {name: data for name, data in files_below(root / "digits").items() if not name.startswith("seeds/")}
    assert outside == before  # nothing of the folder's own is touched
    # nor is one by another version of the project
    written = sorted((seeds / "4" / "evaluate_MIAs" / "results").glob("selena*/report.json"))
    for path in written:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"versions": {"diffence": "0.1.0"}}))
    left = served.run(root, *command, "4", "5", "--dry-run").stdout
    assert left.count("finished") == 3 and "to do: it is by diffence 0.1.0, torch of unknown version" in left
    for path in written:
        path.write_bytes(after[str(path.relative_to(seeds))])
    # a report of other settings or fewer attacks is not taken for a finished one, nor one whose model is gone
    more = ("digits/evaluate_MIAs", "evaluate.py", "--attacks", "loss", "boundary", *defenses, "--seeds")
    assert served.run(root, *more, "4", "--dry-run").stdout.count("to do") == 2
    assert served.run(root, *command, "4", "-N", "2", "--dry-run").stdout.count("to do") == 2
    (seeds / "4" / "final-all-models" / "resnet" / "selena.pth.tar").unlink()
    left = served.run(root, *command, "4", "5", "--dry-run").stdout
    assert left.count("finished") == 3 and left.count("to do") == 1
    # a damaged report is made anew, and no business of who does not ask for its defence
    damaged = seeds / "5" / "evaluate_MIAs" / "results" / "selena" / "report.json"
    damaged.write_text("{")
    alone = [word for word in command if word != "selena"]
    assert served.run(root, *alone, "5").returncode == 0 and damaged.read_text() == "{"
    assert served.run(root, *command, "5").returncode == 0 and json.loads(damaged.read_text())["seed"] == 5


def test_a_plan_names_the_folders_that_will_be_written(trained: Path) -> None:
    for options, named in (
        (("--out", "mine"), "results/undefended_w_diffence/runs/mine"),
        (("--shadows", "8"), "results/undefended_shadows-8-canaries"),
    ):
        done = served.run(trained, *EVALUATE[:4], *options, "--dry-run")
        (row,) = [line for line in done.stdout.splitlines() if named in line]
        assert "not there" in row, done.stderr


def test_several_defences_need_several_seeds(trained: Path) -> None:
    done = served.run(trained, "digits/evaluate_MIAs", "evaluate.py", "--defense", "all")
    assert done.returncode == 1 and "--seeds" in done.stderr
    done = served.run(trained, *EVALUATE, "--seeds", "1", "--departures")
    assert done.returncode == 1 and "leave out" in done.stderr


def _without_seconds(files: dict[str, bytes]) -> dict[str, object]:
    reports = {name: json.loads(data) for name, data in files.items() if name.endswith(".json")}
    for report in reports.values():
        del report["seconds"], report["milliseconds_per_query"], report["made"]
    return {**files, **reports}


@pytest.mark.parametrize(
    "options", [("--scenario", "2"), ("--scenario", "3", "-N", "2"), ("-T", "40", "--num-sample", "8", "--seed", "5")]
)
def test_evaluation_options(trained: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    shutil.copytree(trained, tmp_path / "copy")
    done = served.run(tmp_path / "copy", *EVALUATE, *FEW, *options)
    assert done.returncode == 0, done.stderr
    results = tmp_path / "copy" / "digits" / "evaluate_MIAs" / "results" / "undefended_w_diffence" / "report.json"
    settings = json.loads(results.read_text())["config"]
    names = {"--scenario": ("diffence", "scenario"), "-N": ("diffence", "num_candidates"), "-T": ("diffence", "step"),
             "--num-sample": ("evaluation", "num_sample")}  # fmt: skip
    for option, value in zip(options[::2], options[1::2], strict=True):
        if option in names:
            section, key = names[option]
            assert settings[section][key] == int(value)


def save_diffusers_folder(folder: Path, *, shape: tuple[int, int, int] = (1, 1, 8), **changes: object) -> Path:
    """shape: channels in and out, and size of the images that the model is for"""
    in_channels, out_channels, size = shape
    unet = diffusers.UNet2DModel(
        sample_size=size, in_channels=in_channels, out_channels=out_channels,
        block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    diffusers.DDPMPipeline(fill(unet), diffusers.DDPMScheduler(**changes)).save_pretrained(folder)
    return folder


def test_another_diffusion_model_is_used_and_named_in_the_report(trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(trained, root)
    evaluation = root / "digits" / "evaluate_MIAs"
    served.run(root, *EVALUATE, *FEW)
    own = json.loads((evaluation / "results" / "undefended_w_diffence" / "report.json").read_text())
    banks = set((evaluation / "banks").iterdir())
    models = root / "digits" / "diff_defense" / "diff_models"
    for suffix in (".pt", ".txt"):
        shutil.move(models / f"half{suffix}", root / f"other{suffix}")

    done = served.run(root, *EVALUATE, *FEW)
    assert done.returncode == 1 and "python train_ddpm.py" in done.stderr
    done = served.run(root, *EVALUATE, *FEW, "--diffusion", "../../other.pt")
    assert done.returncode == 0, done.stderr
    moved = json.loads((evaluation / "results" / "undefended_w_diffence" / "report.json").read_text())
    assert set((evaluation / "banks").iterdir()) == banks  # the same model, so nothing was purified again
    assert moved["protocols"] == own["protocols"] and {"other.pt", "other.txt"} <= moved["inputs"].keys()

    folder = save_diffusers_folder(root / "unconditional")
    for expected in (len(banks) + 2, len(banks) + 4):  # the bank of the fences, and the pool of near-copies
        done = served.run(root, *EVALUATE, *FEW, "--diffusion", str(folder))
        assert done.returncode == 0, done.stderr
        report = json.loads((evaluation / "results" / "undefended_w_diffence" / "report.json").read_text())
        assert report["label_agreement"] == 1.0
        for path in folder.rglob("*.*"):
            name = str(path.relative_to(root))
            assert report["inputs"][name] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert len(set((evaluation / "banks").iterdir())) == expected
        save_diffusers_folder(folder, beta_end=0.03)  # another schedule is another fence


def test_a_diffusion_model_that_is_not_there_is_named(trained: Path, tmp_path: Path) -> None:
    lonely = tmp_path / "lonely.pt"
    shutil.copy(trained / "digits" / "diff_defense" / "diff_models" / "half.pt", lonely)
    empty = tmp_path / "empty"
    empty.mkdir()
    for path, complaint in (
        (tmp_path / "nowhere", "nowhere not found: a diffusion model is"),
        (lonely, "lonely.txt not found: a diffusion model is"),
        (empty, "model_index.json not found"),
    ):
        done = served.run(trained, *EVALUATE, "--diffusion", str(path))
        assert done.returncode == 1 and complaint in done.stderr and "Traceback" not in done.stderr


def save_openai_checkpoint(folder: Path) -> Path:
    folder.mkdir()
    save_guided(folder, "improved", text=IMPROVED.replace("4000", "321"))
    return folder / "uncond.pt"


@pytest.mark.parametrize("kind", ["diffusers", "diffusers, larger, of colour, with a variance", "openai"])
def test_the_fence_takes_another_diffusion_model(trained: Path, tmp_path: Path, kind: str) -> None:
    code = (
        "import sys, torch\n"
        "from digits.diff_defense import fence\n"
        "classifier = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n"
        "fenced = fence(classifier, device='cpu', diffusion=sys.argv[1])\n"
        "print(fenced.denoiser.num_steps)\n"
    )
    path = tmp_path / "unconditional"
    if kind == "openai":
        path = save_openai_checkpoint(path)
    else:
        shape = (1, 1, 8) if kind == "diffusers" else (3, 6, 32)
        save_diffusers_folder(path, shape=shape, num_train_timesteps=321)
    done = run(trained, ".", "python", "-c", code, str(path))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "321\n"


@pytest.mark.parametrize("protocols", [["held_out"], ["steady"], ["published"], ["held_out", "steady", "published"]])
def test_each_protocol_can_be_had_alone(trained: Path, tmp_path: Path, protocols: list[str]) -> None:
    shutil.copytree(trained, tmp_path / "copy")
    done = served.run(tmp_path / "copy", *EVALUATE, *FEW, "--protocol", *protocols)
    assert done.returncode == 0, done.stderr
    assert ("undefended (resnet), held-out protocol" in done.stdout) == ("held_out" in protocols)
    assert ("teady fence, held-out protocol" in done.stdout) == ("steady" in protocols)
    assert ("What the paper's code computes" in done.stdout) == ("published" in protocols)
    results = tmp_path / "copy" / "digits" / "evaluate_MIAs" / "results"
    for folder in ("undefended", "undefended_w_diffence"):
        report = json.loads((results / folder / "report.json").read_text())
        assert list(report["protocols"]) == protocols
        assert report["accuracy"] == next(iter(report["protocols"].values()))["accuracy"]
        assert (results / folder / "roc.png").stat().st_size > 0
        held_out = {"tuning", "attack_fit", "final_test"}
        expected = {"held_out": held_out, "steady": held_out, "published": {"known", "target", "utility"}}
        assert set(report["counts"]) == set().union(*(expected[name] for name in report["protocols"]))
    assert report["protocols"][next(iter(report["protocols"]))]["reduction"].keys() == {"auc", "balanced_accuracy"}


def test_the_published_noising_has_candidates_and_a_report_of_its_own(trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(trained, root)
    shutil.rmtree(root / "digits" / "evaluate_MIAs" / "banks", ignore_errors=True)
    assert served.run(root, *EVALUATE, *FEW, "--noising", "ddpm").returncode == 0
    standard = files_below(root / "digits" / "evaluate_MIAs" / "banks")
    done = served.run(root, *EVALUATE, *FEW, "--noising", "published")
    assert done.returncode == 0, done.stderr
    assert "published noising" in done.stdout
    both = files_below(root / "digits" / "evaluate_MIAs" / "banks")
    assert len(both) == 2 * len(standard) and both.items() >= standard.items()
    results = root / "digits" / "evaluate_MIAs" / "results" / "undefended_w_diffence" / "report.json"
    assert json.loads(results.read_text())["config"]["diffence"]["noising"] == "published"
    done = served.run(root, *EVALUATE, *FEW, "--noising", "published", "-T", "1000")
    assert done.returncode == 1 and "the last one of the diffusion model is 999" in done.stderr


@pytest.mark.parametrize("style", [(), ("markdown",)])
def test_departures_are_measured_and_tabled(trained: Path, tmp_path: Path, style: tuple[str, ...]) -> None:
    root = tmp_path / "copy"
    shutil.copytree(trained, root)
    shutil.rmtree(root / "digits" / "evaluate_MIAs" / "results", ignore_errors=True)
    done = served.run(root, *EVALUATE, "--departures", *style)
    assert done.returncode == 0, done.stderr
    for name in departures.DEPARTURES:
        assert name in done.stdout
    assert ("|---|" in done.stdout) == bool(style)
    assert not (root / "digits" / "evaluate_MIAs" / "results").exists()  # it is no report


def test_measures_are_measured_and_tabled(trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(trained, root)
    shutil.rmtree(root / "digits" / "evaluate_MIAs" / "results", ignore_errors=True)
    done = served.run(root, *EVALUATE, "--measures", "markdown", "--attacks", "loss", "work", "near_copies_4")
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ")[0] for line in done.stdout.splitlines() if line.startswith("| ")]
    assert rows[1:] == ["| none", *(f"| {name}" for name in MEASURES)]
    assert not (root / "digits" / "evaluate_MIAs" / "results").exists()  # it is no report


def test_a_diffusion_model_of_one_step_serves_that_step_and_no_other(trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(trained, root)
    models = root / "digits" / "diff_defense" / "diff_models"
    (models / "samples.png").unlink()
    done = served.run(root, "digits", "train_ddpm.py", "--only-step", "--on", "reference")
    assert done.returncode == 0 and "trained anew: ddpm.training.only_steps: nothing" in done.stdout, done.stderr
    assert (models / "purified.png").is_file() and not (models / "samples.png").exists()
    assert served.run(root, *EVALUATE, "--attacks", "loss").returncode == 0
    done = served.run(root, *EVALUATE, "-T", "40")
    assert done.returncode == 1 and "has learnt" in done.stderr and "only_steps" in done.stderr


def test_the_key_of_a_fence_is_made_once_and_is_in_no_other_file(trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(trained, root)
    code = (
        "import torch\n"
        "from digits.diff_defense import fence\n"
        "model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n"
        "torch.nn.init.ones_(model[1].bias); torch.nn.init.eye_(model[1].weight)\n"
        "x = torch.eye(64)[:10].reshape(10, 1, 8, 8)  # whose labels reconstructions keep\n"
        "print(fence(model, device='cpu')(x).tolist(), fence(model, device='cpu', seed=0)(x).tolist())\n"
    )
    first, again = (run(root, ".", "python", "-c", code) for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert first.stdout == again.stdout
    path = root / "digits" / "diff_defense" / "diff_models" / "fence.key"
    path.unlink()
    other = run(root, ".", "python", "-c", code)
    assert other.stdout != first.stdout and other.stdout.split("]] ")[1] == first.stdout.split("]] ")[1]
    assert served.run(root, *EVALUATE, "--attacks", "loss").returncode == 0
    files, key = files_below(root / "digits"), path.read_bytes()
    assert [name for name, content in files.items() if key in content] == ["diff_defense/diff_models/fence.key"]
    assert not any(key.hex().encode() in content for content in files.values())


@pytest.mark.parametrize("option", [("--protocol", "published"), ("--noising", "ddpm")])
def test_departures_choose_protocols_and_noisings_themselves(trained: Path, option: tuple[str, str]) -> None:
    done = served.run(trained, *EVALUATE, "--departures", *option)
    assert done.returncode == 1 and "leave out --protocol and --noising" in done.stderr


def test_the_summary_shows_every_result_there_is(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(trained, root)
    for dataset in DATASETS:
        shutil.rmtree(root / dataset / "evaluate_MIAs" / "results", ignore_errors=True)
    assert summary([], root=root) == 1
    said = capsys.readouterr().err
    assert "no results" in said and "evaluate_mia.sh" in said
    assert served.run(root, *EVALUATE, *FEW).returncode == 0
    assert summary([], root=root) == 0
    said = capsys.readouterr().out
    assert "digits" in said and "undefended" in said and "averages" not in said
    for dataset in DATASETS[:3]:
        evaluate = (f"{dataset}/evaluate_MIAs", *EVALUATE[1:], *FEW, "--noising", "published")
        assert served.run(root, *evaluate).returncode == 0
    done = run(root, ".", "python", "-m", "common.summary", "--markdown")
    assert done.returncode == 0, done.stderr
    assert "undefended: attack AUC | 14.0 |" in done.stdout and "Forward noising here: published" in done.stdout
    damaged = root / "svhn" / "evaluate_MIAs" / "results" / "undefended" / "report.json"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    assert summary([], root=root) == 1
    assert "svhn/evaluate_MIAs/results/undefended/report.json" in capsys.readouterr().err


def test_partition_prints_sizes_and_class_balance(trained: Path) -> None:
    done = served.run(trained, "svhn", "data_partition.py")
    assert done.returncode == 0
    for line in ("members (training set)", "validation: checkpoint", "final_test: non-members", "fewest … most"):
        assert line in done.stdout


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "svhn"])
def test_without_network_the_archive_its_address_and_its_folder_are_named(tmp_path: Path, dataset: str) -> None:
    root = miniature.build(tmp_path, archives=False)
    before = files_below(root / dataset)
    done = served.run(root, dataset, "data_partition.py")
    archive = {"cifar10": "cifar-10-python.tar.gz", "cifar100": "cifar-100-python.tar.gz", "svhn": "train_32x32.mat"}
    assert done.returncode == 1
    assert archive[dataset] in done.stderr and "http://" in done.stderr and f"{dataset}/data/raw" in done.stderr
    assert "Traceback" not in done.stderr
    assert files_below(root / dataset) == before


@pytest.mark.parametrize("dataset", ["cifar10", "svhn"])
def test_a_damaged_archive_is_refused_and_left_alone(tmp_path: Path, dataset: str) -> None:
    root = miniature.build(tmp_path)
    archive = next((root / dataset / "data" / "raw").iterdir())
    archive.write_bytes(archive.read_bytes()[:-7])
    before = files_below(root / dataset)
    done = served.run(root, dataset, "data_partition.py")
    assert done.returncode == 1 and archive.name in done.stderr and "damaged" in done.stderr
    assert files_below(root / dataset) == before


@pytest.mark.parametrize(
    ("permutation", "complaint"),
    [(np.arange(799), "799"), (np.zeros(800, dtype=np.int64), "repeat"), (np.linspace(0, 1, 800), "integer")],
)
def test_a_wrong_permutation_is_refused(tmp_path: Path, permutation: np.ndarray, complaint: str) -> None:
    root = miniature.build(tmp_path)
    np.save(root / "wrong.npy", permutation)
    done = served.run(root, "digits", "data_partition.py", "--permutation", "../wrong.npy")
    assert done.returncode == 1 and "wrong.npy" in done.stderr and complaint in done.stderr
    assert not (root / "digits" / "data").exists()


def test_a_permutation_file_decides_the_members(tmp_path: Path) -> None:
    root = miniature.build(tmp_path)
    np.save(root / "order.npy", np.arange(800)[::-1])
    assert served.run(root, "digits", "data_partition.py", "--permutation", "../order.npy").returncode == 0
    content = json.loads((root / "digits" / "data" / "partition.json").read_text())
    assert content["permutation"][:3] == [799, 798, 797] and content["permutation_source"] == "order.npy"


def test_missing_files_are_named_with_the_command_that_makes_them(trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(trained, root)
    shutil.rmtree(root / "digits" / "evaluate_MIAs" / "results", ignore_errors=True)
    for path, command in (  # the last one that is missing is asked for first
        ("diff_defense/diff_models/half.pt", "python train_ddpm.py"),
        ("final-all-models/resnet/undefended.pth.tar", "python train_defense.py --defense undefended"),
        ("data/partition.json", "python data_partition.py"),
    ):
        (root / "digits" / path).unlink()
        done = served.run(root, *EVALUATE)
        assert done.returncode == 1, path
        assert path in done.stderr and command in done.stderr
    assert not (root / "digits" / "evaluate_MIAs" / "results").exists()


def test_wrong_usage_exits_with_2_and_the_choices(trained: Path) -> None:
    done = served.run(trained, *EVALUATE[:2], "--defense", "nonsense")
    assert done.returncode == 2 and "undefended" in done.stderr
    done = served.run(trained, *EVALUATE, "--nonsense")
    assert done.returncode == 2 and "--nonsense" in done.stderr


@pytest.mark.parametrize(
    ("folder", "script", "name"),
    [
        ("digits", "data_partition.py", "data_partition.py"),
        ("digits", "train_ddpm.py", "train_ddpm.py"),
        ("digits", "train_defense.py", "train_defense.py"),
        ("digits", "train_shadows.py", "train_shadows.py"),
        ("digits", "export_published.py", "export_published.py"),
        ("digits/evaluate_MIAs", "evaluate.py", "evaluate_mia.sh"),
        (".", "common/cli/train_all.py", "all-train-all.sh"),
        (".", "common/cli/reproduce.py", "reproduce.sh"),
        (".", "common/audit.py", "python -m common.audit"),
        (".", "common/new_dataset.py", "python -m common.new_dataset"),
        (".", "common/summary.py", "python -m common.summary"),
    ],
)
def test_every_command_has_help(trained: Path, folder: str, script: str, name: str) -> None:
    done = served.run(trained, folder, script, "--help")
    assert done.returncode == 0
    assert "--seed" in done.stdout and "--device" in done.stdout and f"usage: {name}" in done.stdout


def test_mistakes_in_a_yaml_file_are_told_all_at_once(trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(trained, root)
    (root / "digits" / "configs" / "diffence.yaml").write_text("num_candidates: 0\nstep: 1e-3\nsurprise: 1\n")
    done = served.run(root, *EVALUATE)
    assert done.returncode == 1
    for word in ("diffence.yaml: 3 mistakes", "num_candidates", "step", "surprise"):
        assert word in done.stderr


def test_all_train_all_skips_finished_work_and_trains_changed_settings_anew(trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(trained, root)
    command = ("bash", "all-train-all.sh", "--dataset", "digits", "--defense", "undefended")
    model = root / "digits" / "final-all-models" / "resnet" / "undefended.pth.tar"
    before = model.stat().st_mtime_ns
    done = run(root, ".", *command)
    assert done.returncode == 0, done.stdout
    assert "up to date" in done.stdout and model.stat().st_mtime_ns == before
    miniature.shrink(root / "digits" / "configs" / "undefended.yaml", {"epochs": 2})
    done = run(root, ".", *command)
    assert done.returncode == 0
    assert "trained anew: settings.epochs: 3 -> 2" in done.stdout and model.stat().st_mtime_ns > before


def test_all_train_all_stops_at_a_failure_and_names_command_and_log(trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(trained, root)
    (root / "digits" / "configs" / "ddpm.yaml").write_text("nonsense: 1\n")
    command = ("bash", "all-train-all.sh", "--dataset", "digits", "--defense", "undefended")
    stopped = run(root, ".", *command)
    assert stopped.returncode == 1
    assert "python train_ddpm.py" in stopped.stdout and "train_ddpm.log" in stopped.stdout
    assert "train_defense.py --defense" not in stopped.stdout
    going = run(root, ".", *command, "--keep-going")
    assert going.returncode == 1 and "train_defense.py --defense undefended" in going.stdout
    log = root / "digits" / "final-all-models" / "logs" / "train_ddpm.log"
    assert "nonsense: unknown key" in log.read_text()


@pytest.mark.parametrize("damage", ["truncated", "foreign", "other shape"])
def test_a_damaged_model_is_refused_by_name_and_nothing_is_written(trained: Path, tmp_path: Path, damage: str) -> None:
    root = tmp_path / "copy"
    shutil.copytree(trained, root)
    shutil.rmtree(root / "digits" / "evaluate_MIAs" / "results", ignore_errors=True)
    model = root / "digits" / "final-all-models" / "resnet" / "undefended.pth.tar"
    if damage == "truncated":
        model.write_bytes(model.read_bytes()[:1000])
    elif damage == "foreign":
        model.write_bytes((root / "digits" / "diff_defense" / "diff_models" / "half.pt").read_bytes())
    else:
        miniature.shrink(root / "digits" / "configs" / "classifier.yaml", {"resnet": {"width": 8}})
    done = served.run(root, *EVALUATE)
    assert done.returncode == 1 and "undefended.pth.tar" in done.stderr and "Traceback" not in done.stderr
    assert not (root / "digits" / "evaluate_MIAs" / "results").exists()


def test_a_guard_that_learnt_from_other_members_is_refused(trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(trained, root)
    assert served.run(root, "digits", "train_defense.py", "--defense", "memguard").returncode == 0
    model = root / "digits" / "final-all-models" / "resnet" / "memguard.pth.tar"
    state = checkpoints.read(model, expect={"made_from": dict}).content
    checkpoints.save(model, {**state, "made_from": {**state["made_from"], "tuning_members": "others"}})
    done = served.run(root, "digits/evaluate_MIAs", "evaluate.py", "--defense", "memguard")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "memguard.pth.tar was trained on other tuning members" in done.stderr
    assert "`python train_defense.py --defense memguard` in digits" in done.stderr
