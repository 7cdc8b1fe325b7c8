"""What every command says first, and the options that all have, through the real scripts."""

import json
import shutil

import pytest

from common import __version__
from tests import miniature, served
from tests.miniature import files_below

EVALUATE = ("digits/evaluate_MIAs", "evaluate.py", "--defense", "undefended")
DDPM, DEFENSE = ("digits", "train_ddpm.py"), ("digits", "train_defense.py", "--defense", "undefended")


@pytest.fixture
def root(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "copy")


def test_a_command_says_first_what_it_works_with_and_what_it_makes(root):
    done = served.run(root, *EVALUATE, "--seed", "3", "-T", "40", "--device", "cpu", *miniature.FEW)
    assert done.returncode == 0, done.stderr
    first, second, _, *made = done.stdout.splitlines()
    assert first == (
        f"evaluate_mia.sh {__version__}: digits on cpu, classifier fp32, diffusion fp32, 1 threads, seed 3"
    )
    assert second == "settings that differ from configs/: diffence.step: 160 -> 40"
    assert made[0].split()[0] == "digits/evaluate_MIAs/results/undefended"
    assert made[1].split()[0] == "digits/evaluate_MIAs/results/undefended_w_diffence"


@pytest.mark.parametrize("command", [EVALUATE, DDPM, DEFENSE, ("digits", "data_partition.py")])
def test_the_version_is_that_of_the_package(trained, command):
    done = served.run(trained, *command, "--version")
    assert (done.returncode, done.stdout) == (0, f"diffence {__version__}\n")


def test_the_version_is_written_to_reports(root):
    assert served.run(root, *EVALUATE, *miniature.FEW).returncode == 0
    report = root / "digits" / "evaluate_MIAs" / "results" / "undefended" / "report.json"
    assert json.loads(report.read_text())["versions"]["diffence"] == __version__


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (DDPM, "digits/diff_defense/diff_models/half.pt there already and up to date"),
        ((*DDPM, "--set", "ddpm.training.batch_size=2"), "trained anew: ddpm.training.batch_size: 4 -> 2"),
        ((*DEFENSE, "--seed", "5"), "trained anew: seed: 0 -> 5"),
        ((*DEFENSE[:-1], "dpsgd", "--model", "vit"), "digits/final-all-models/vit/dpsgd.pth.tar not there"),
        ((*EVALUATE[:-1], "hamp"), "digits/evaluate_MIAs/results/hamp_w_diffence not there"),
    ],
)
def test_a_dry_run_prints_the_plan_and_does_nothing(root, command, line):
    shutil.rmtree(root / "digits" / "evaluate_MIAs" / "results", ignore_errors=True)
    shutil.rmtree(root / "digits" / "final-all-models" / "vit", ignore_errors=True)
    before = files_below(root)
    done = served.run(root, *command, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert line in " ".join(done.stdout.split()) and "took last" in done.stdout
    assert files_below(root) == before


def test_a_dry_run_says_how_long_the_last_one_took(root):
    seconds = root / "digits" / "diff_defense" / "diff_models" / "half.pt.seconds.json"
    seconds.write_text('{"seconds": 108.4}')
    done = served.run(root, *DDPM, "--dry-run")
    assert done.stdout.splitlines()[-2].endswith("  108 s")


def test_a_dry_run_of_everything_works_from_nothing(tmp_path):
    root = miniature.build(tmp_path)
    before = files_below(root)
    command = ("bash", "all-train-all.sh", "--dry-run", "--dataset", "svhn", "--defense", "memguard")
    done = miniature.run(root, ".", *command)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[2:-1]] == [
        "svhn/data/partition.json",
        "svhn/diff_defense/diff_models/half.pt",
        "svhn/final-all-models/resnet/undefended.pth.tar",
        "svhn/final-all-models/resnet/memguard.pth.tar",
    ]
    assert {line.partition(" ")[2].strip() for line in done.stdout.splitlines()[2:-1]} == {"not there  -     -"}
    assert files_below(root) == before


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        (
            (*DDPM, "--set", "ddpm.training.batch_size=-3"),
            "batch_size: Input should be greater than 0, found -3",
        ),
        ((*DDPM, "--set", "ddpm.training.batch_size=1e2"), "training.batch_size: Input should be a valid integer"),
        ((*DDPM, "--set", "ddpm.training.batchsize=3"), "ddpm.yaml with training.batchsize=3: no such key"),
        ((*DDPM, "--set", "ddpm.training.batch_size.x=3"), "no such key"),
        ((*DDPM, "--set", "selena.epochs=3"), "--set selena.epochs: this command reads data, ddpm, diffence"),
        ((*DDPM, "--set", "batch_size"), "--set batch_size: expected FILE.KEY=VALUE"),
        ((*DDPM, "--set", "ddpm.unet.attn=[0"), "not a YAML value"),
        ((*EVALUATE, "--set", "diffence.scenario=4"), "diffence.yaml with scenario=4: 1 mistake"),
        (
            (*EVALUATE, "--set", "evaluation.nn_attack.validation=1.0"),
            "validation: Input should be less than 1",
        ),
        (("digits", "data_partition.py", "--set", "data.validation=24"), "must be smaller than reference (24)"),
        (("digits", "data_partition.py", "--set", "data.members=true"), "members: Input should be a valid integer"),
    ],
)
def test_a_wrong_setting_is_refused_before_any_work(root, command, complaint):
    before = files_below(root)
    done = served.run(root, *command)
    assert done.returncode == 1 and complaint in done.stderr and "Traceback" not in done.stderr
    assert files_below(root) == before


def test_a_setting_is_used_and_recorded_as_if_the_yaml_had_it(root):
    done = served.run(root, "digits", "train_defense.py", "--defense", "hamp", "--set", "hamp.epochs=2")
    assert done.returncode == 0, done.stderr
    log = root / "digits" / "final-all-models" / "resnet" / "hamp.pth.tar.log.csv"
    assert len(log.read_text().splitlines()) == 1 + 2
    miniature.shrink(root / "digits" / "configs" / "hamp.yaml", {"epochs": 2})
    again = served.run(root, "digits", "train_defense.py", "--defense", "hamp")
    assert "up to date" in again.stdout and "settings that differ" not in again.stdout
    settings = ("--set", "diffence.num_candidates=2", "--set", "evaluation.bootstrap=120")
    done = served.run(root, *EVALUATE, *settings, *miniature.FEW)
    assert done.returncode == 0, done.stderr
    report = root / "digits" / "evaluate_MIAs" / "results" / "undefended_w_diffence" / "report.json"
    config = json.loads(report.read_text())["config"]
    assert (config["diffence"]["num_candidates"], config["evaluation"]["bootstrap"]) == (2, 120)


def test_all_train_all_gives_settings_on_to_the_steps_that_read_them(root):
    command = ("bash", "all-train-all.sh", "--dataset", "digits", "--defense", "undefended", "--dry-run")
    done = miniature.run(root, ".", *command, "--set", "undefended.epochs=2")
    assert done.returncode == 0, done.stderr
    assert "trained anew: settings.epochs: 3 -> 2" in done.stdout
    done = miniature.run(root, ".", *command, "--set", "hamp.epochs=2")
    assert done.returncode == 1 and "--set hamp: the steps read" in done.stderr


def test_a_rank_that_a_scheduler_left_does_not_lose_a_training(root):
    shutil.rmtree(root / "digits" / "diff_defense" / "diff_models")
    done = miniature.run(root, "digits", "python", "train_ddpm.py", RANK="1")
    assert done.returncode == 1 and "error: RANK=1 in the environment" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_output_that_cannot_show_a_character_shows_another(root, encoding):
    done = miniature.run(root, "digits", "python", "data_partition.py", PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert "members (training set)" in done.stdout and "fewest ? most of a class" in done.stdout


def test_any_backend_of_matplotlib_will_do(root):
    command = ("evaluate.py", "--defense", "undefended", "--dry-run")
    done = miniature.run(root, "digits/evaluate_MIAs", "python", *command, MPLBACKEND="nonsense")
    assert done.returncode == 0, done.stderr


OTHER_SYSTEM = """
import os, runpy, signal, sys
del signal.SIGHUP, os.sched_getaffinity, os.O_NOFOLLOW, os.O_NONBLOCK
sys.modules["fcntl"] = None
sys.argv = ["data_partition.py"]
runpy.run_path("data_partition.py", run_name="__main__")
"""


def test_a_system_without_what_only_unix_has_will_do(root):
    done = miniature.run(root, "digits", "python", "-c", OTHER_SYSTEM)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("files cannot be locked here (this system has none)") == 1
    assert "members (training set)" in done.stdout


def test_an_audit_by_shadow_models_takes_no_attacks_and_no_protocol(trained):
    for option in (("--attacks", "loss"), ("--protocol", "published")):
        done = served.run(trained, *EVALUATE, "--shadows", *option)
        assert done.returncode == 1 and "leave out --attacks and --protocol" in done.stderr
