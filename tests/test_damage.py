"""Damaged, hostile and contradictory files and settings: refused in one line by name, or made anew; never a number."""

import itertools
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from common.cli.summary import main as summary
from common.evaluation.protocols import PROTOCOLS
from common.experiment import evaluate
from common.experiment.experiment import Experiment
from common.runtime import checkpoints, storage
from common.runtime.paths import DatasetFolder
from common.runtime.subject import Subject
from tests import miniature, served
from tests.miniature import files_below

EVALUATE = ("digits/evaluate_MIAs", "evaluate.py", "--defense", "undefended", *miniature.FEW)
UNDEFENDED = ("digits", "train_defense.py", "--defense", "undefended")
CLASSIFIER = "final-all-models/resnet/undefended.pth.tar"
DDPM = "diff_defense/diff_models/half.pt"
SPENT = {"epsilon": 1.0, "delta": 0.1, "noise_multiplier": 1.0, "max_grad_norm": 1.0}


@pytest.fixture(scope="module")
def evaluated(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = shutil.copytree(trained, tmp_path_factory.mktemp("damage") / "copy")
    assert served.run(root, *EVALUATE).returncode == 0
    return root


@pytest.fixture
def digits(evaluated: Path, tmp_path: Path) -> Path:
    """A dataset folder with everything in it, to be spoilt."""
    return shutil.copytree(evaluated, tmp_path / "copy") / "digits"


def refused(digits: Path, *command: str) -> str:
    """The one line in which a command refuses, having changed nothing."""
    before = files_below(digits)
    done = served.run(digits.parent, *command)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr and files_below(digits) == before
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return done.stderr[done.stderr.index(line) :]


def rewrite(path: Path, change: Any, *, checked: bool = True) -> None:
    """Change a checkpoint's content; ``checked`` gives it the checksum of what it has become."""
    content = torch.load(path, weights_only=True)
    change(content)
    if checked:
        del content["checksum"]
        checkpoints.save(path, content)
    else:
        torch.save(content, path)


def turn_a_bit(path: Path) -> None:
    """Of a weight in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("file", [CLASSIFIER, DDPM])
def test_one_bit_of_a_model_is_noticed(digits: Path, file: str) -> None:
    turn_a_bit(digits / file)
    assert Path(file).name in refused(digits, *EVALUATE)


@pytest.mark.parametrize("name", ["undefended", "ddpm"])
def test_a_damaged_model_of_ours_is_trained_anew_to_the_same_bytes(digits: Path, name: str) -> None:
    path, command = (
        (digits / CLASSIFIER, UNDEFENDED) if name == "undefended" else (digits / DDPM, ("digits", "train_ddpm.py"))
    )
    before = path.read_bytes()
    turn_a_bit(path)
    done = served.run(digits.parent, *command)
    assert done.returncode == 0 and "trained anew: " in done.stdout and "is damaged" in done.stdout
    assert path.read_bytes() == before


def test_a_diffusion_model_of_another_dataset_is_refused_and_one_of_another_partition_told(digits: Path) -> None:
    rewrite(digits / DDPM, lambda content: content["made_from"].update(partition="another"))
    done = served.run(digits.parent, *EVALUATE)
    assert done.returncode == 0 and "WARNING: the diffusion model was trained on another partition" in done.stdout
    rewrite(digits / DDPM, lambda content: content["made_from"].update(dataset="svhn"))
    assert "half.pt: was trained on svhn" in refused(digits, *EVALUATE)


def test_flags_that_are_not_the_checkpoints_are_refused(digits: Path) -> None:
    flags = digits / "diff_defense/diff_models/half.txt"
    flags.write_text(flags.read_text().replace("beta_T=0.02", "beta_T=0.03"))
    assert "half.txt says beta_T = 0.03, but half.pt was trained with 0.02" in refused(digits, *EVALUATE)


def test_a_changed_partition_is_refused(digits: Path) -> None:
    path = digits / "data/partition.json"
    content = json.loads(path.read_text())
    order = content["permutation"]
    order[0], order[-1] = order[-1], order[0]
    path.write_text(json.dumps(content))
    assert "partition.json is damaged" in refused(digits, *EVALUATE)


def test_byte_order_marks_are_passed_over(digits: Path) -> None:
    for name in ("configs/evaluation.yaml", "diff_defense/diff_models/half.txt", "data/partition.json"):
        path = digits / name
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    done = served.run(digits.parent, *EVALUATE)
    assert done.returncode == 0, done.stderr


def test_files_without_a_checksum_are_read_and_said_to_be_unchecked(digits: Path) -> None:
    partition = digits / "data/partition.json"
    content = json.loads(partition.read_text())
    del content["checksum"]
    partition.write_text(json.dumps(content))
    rewrite(digits / CLASSIFIER, lambda content: content.pop("checksum"), checked=False)
    done = served.run(digits.parent, *EVALUATE)
    assert done.returncode == 0
    line = f"unchecked, since it carries no checksum: digits/{CLASSIFIER}, digits/data/partition.json"
    assert line in done.stdout
    report = json.loads((digits / "evaluate_MIAs/results/undefended/report.json").read_text())
    assert line in report["notes"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["made_from"].update(defense="selena"), "was trained as selena of digits"),
        (lambda c: c["made_from"].update(dataset="svhn"), "was trained as undefended of svhn"),
        (lambda c: c["made_from"].update(seed="0"), "made_from: 1 mistake"),
        (lambda c: c.update(made_from=[1]), "made_from: 1 mistake"),
        (lambda c: c["made_from"].update(more=1), "more: unknown key"),
        (lambda c: c["made_from"]["settings"].update(epochs=-1), "epochs"),
        (lambda c: c.update(privacy={"epsilon": 1.0, "delta": 1e-5}), "claims a privacy guarantee"),
        (
            lambda c: c["state_dict"].update({"fc.bias": c["state_dict"]["fc.bias"].to(torch.int8)}),
            "fc.bias is torch.int8",
        ),
        (lambda c: c["state_dict"]["fc.weight"].fill_(math.nan), "weights that are not finite: fc.weight"),
        (lambda c: c["state_dict"]["fc.weight"].fill_(3e38), "the classifier answered NaN or infinite logits"),
        (lambda c: c.update(state_dict={}), "do not fit"),
        (lambda c: c.update(state_dict={3: torch.zeros(1)}), "names that are not text"),
    ],
)
def test_a_classifier_that_says_what_cannot_be_is_refused(digits: Path, change: Any, said: str) -> None:
    rewrite(digits / CLASSIFIER, change)
    line = refused(digits, *EVALUATE)
    assert said in line and "undefended.pth.tar" in line


@pytest.mark.parametrize(
    "privacy",
    [
        SPENT | {"epsilon": math.nan},
        SPENT | {"delta": 2.0},
        {"epsilon": "1"},
        3,
    ],
)
def test_a_guarantee_that_is_none_is_refused(digits: Path, privacy: Any) -> None:
    model = digits / "final-all-models/resnet/dpsgd.pth.tar"
    assert served.run(digits.parent, "digits", "train_defense.py", "--defense", "dpsgd").returncode == 0
    rewrite(model, lambda content: content.update(privacy=privacy))
    assert "dpsgd.pth.tar: privacy" in refused(digits, *EVALUATE[:2], "--defense", "dpsgd")


def test_a_saved_state_that_was_changed_is_not_gone_on_with(digits: Path, tmp_path: Path) -> None:
    model = digits / CLASSIFIER
    whole = model.read_bytes()
    model.unlink()
    progress = model.with_name(model.name + ".progress")
    process = served.start(digits.parent, *UNDEFENDED, "--set", "undefended.epochs=4000", output=tmp_path / "first")
    while not progress.exists():
        assert process.is_alive()
    process.kill()
    process.join()
    rewrite(progress, lambda content: content.update(best=None), checked=False)
    done = served.run(digits.parent, *UNDEFENDED)
    assert done.returncode == 0 and "is damaged: its checksum does not fit what it holds" in done.stdout
    assert model.read_bytes() == whole and not progress.exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ((*UNDEFENDED, "--set", "undefended.learning_rate=1.0e+30"), "undefended.pth.tar has diverged in round 1"),
        (("digits", "train_ddpm.py", "--set", "ddpm.training.learning_rate=1.0e+30"), "half.pt has diverged in round"),
        (("digits", "train_ddpm.py", "--set", "ddpm.schedule.T=100"), "step 160 (-T, configs/diffence.yaml)"),
        (("digits", "train_ddpm.py", "--set", "ddpm.schedule.beta_T=0.9999999"), "no schedule: with these T, beta_1"),
        ((*EVALUATE, "--num-sample", "1"), "num_sample: Input should be greater than or equal to 2"),
        (("digits", "data_partition.py", "--seed", "5"), "were trained on, and the new one is another"),
    ],
)
def test_good_work_is_not_replaced_by_bad(digits: Path, command: tuple[str, ...], said: str) -> None:
    assert said in refused(digits, *command)


def test_a_lock_in_whose_place_a_link_to_a_foreign_file_stands_is_refused(digits: Path) -> None:
    foreign = digits / "foreign"
    foreign.write_text("kept")
    (digits / "final-all-models/resnet/.undefended.pth.tar.lock").hardlink_to(foreign)
    assert "stands where a lock is to be" in refused(digits, *UNDEFENDED)


def test_a_folder_in_the_place_of_a_result_leaves_both_results_as_they_were(digits: Path) -> None:
    report = digits / "evaluate_MIAs/results/undefended_w_diffence/report.json"
    report.unlink()
    report.mkdir()
    assert f"{report}: Is a directory" in refused(digits, *EVALUATE)


def test_a_partition_that_is_in_use_is_replaced_where_that_is_asked_for(digits: Path) -> None:
    before = (digits / "data/partition.json").read_bytes()
    assert served.run(digits.parent, "digits", "data_partition.py").returncode == 0
    assert (digits / "data/partition.json").read_bytes() == before  # the same one again needs no asking
    assert served.run(digits.parent, "digits", "data_partition.py", "--seed", "5", "--replace").returncode == 0
    assert (digits / "data/partition.json").read_bytes() != before


@pytest.mark.parametrize(
    ("command", "setting"),
    [
        (("digits", "train_ddpm.py"), "ddpm.schedule.T"),
        (("digits", "train_ddpm.py"), "ddpm.unet.ch"),
        (("digits", "train_ddpm.py"), "ddpm.unet.num_res_blocks"),
        (("digits", "train_ddpm.py"), "ddpm.training.batch_size"),
        (UNDEFENDED, "undefended.batch_size"),
        (UNDEFENDED, "undefended.epochs"),
        (UNDEFENDED, "classifier.resnet.width"),
        (("digits", "data_partition.py"), "data.members"),
        (EVALUATE, "diffence.num_candidates"),
        (EVALUATE, "diffence.group_size"),
        (EVALUATE, "evaluation.bootstrap"),
    ],
)
def test_sizes_beyond_all_use_are_refused_by_range(digits: Path, command: tuple[str, ...], setting: str) -> None:
    line = refused(digits, *command, "--set", f"{setting}=1000000000")
    assert setting.split(".")[-1] in line and "should be less than or equal to" in line


def test_a_report_says_what_it_was_made_from_even_if_that_is_replaced_meanwhile(
    digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [digits / CLASSIFIER, digits / DDPM, digits / "data/partition.json"]
    read = {str(path.relative_to(digits.parent)): storage.file_sha256(path) for path in paths}
    compute = evaluate.evaluate

    def replaced(*arguments: Any, **options: Any) -> Any:
        for path in paths:
            path.write_bytes(b"another file")
        return compute(*arguments, **options)

    monkeypatch.setattr(evaluate, "evaluate", replaced)
    experiment = Experiment.at(DatasetFolder(digits), device="cpu")
    evaluate.run(experiment, evaluate.settings_for(experiment, Subject(), list(PROTOCOLS.values())))
    for folder in ("undefended", "undefended_w_diffence"):
        report = json.loads((digits / "evaluate_MIAs/results" / folder / "report.json").read_text())
        assert read.items() <= report["inputs"].items()


def test_results_of_two_evaluations_are_told_apart(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert summary(["--dataset", "digits"], root=digits.parent) == 0
    assert "WARNING" not in capsys.readouterr().out
    results = digits / "evaluate_MIAs/results"
    one = (results / "undefended/report.json").read_bytes()
    assert served.run(digits.parent, *EVALUATE, "--scenario", "2").returncode == 0
    assert summary(["--dataset", "digits"], root=digits.parent) == 0
    assert "WARNING" not in capsys.readouterr().out
    (results / "undefended/report.json").write_bytes(one)  # as if the second evaluation had been killed between them
    assert summary(["--dataset", "digits"], root=digits.parent) == 0
    assert "the results with and without Diffence are of different evaluations" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda r: r["protocols"]["held_out"]["best"].update(auc=0.1),
            "best.auc is less than that of one of its attacks",
        ),
        (lambda r: r["protocols"]["held_out"]["best"].update(balanced_accuracy=0.1), "best.balanced_accuracy is less"),
        (lambda r: r["protocols"]["held_out"]["attacks"]["loss"]["auc_ci"].reverse(), "the wrong way round"),
        (lambda r: r["protocols"]["held_out"]["attacks"]["loss"].update(auc=1.5), "less than or equal to 1"),
        (lambda r: r["protocols"]["held_out"]["best"].update(auc=0.99), "best.auc is not that of best.attack"),
        (lambda r: r["protocols"]["held_out"]["best"].update(attack="nonsense"), "best.auc is not that of best.attack"),
        (lambda r: r["protocols"]["held_out"]["best"].update(auc_ci=[0.0, 0.1]), "lies below that of one of them"),
        (lambda r: r["accuracy"].update(test=0.123), "accuracy is another than that of protocol held_out"),
        (lambda r: r.update(label_agreement=0.5), "label_agreement is another"),
        (
            lambda r: r.update(privacy={"epsilon": 1, "delta": 0.1, "noise_multiplier": 1, "max_grad_norm": 1}),
            "privacy",
        ),
        (lambda r: r.update(seconds=-1), "greater than or equal to 0"),
    ],
)
def test_a_report_that_cannot_be_is_refused(
    digits: Path, change: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = digits / "evaluate_MIAs/results/undefended/report.json"
    report = json.loads(path.read_text())
    change(report)
    path.write_text(json.dumps(report))
    assert summary(["--dataset", "digits"], root=digits.parent) == 1
    shown = capsys.readouterr()
    assert not shown.out and "undefended/report.json" in shown.err and said in shown.err


AT_ONCE = {
    "selena": (["final-all-models/resnet/selena*"], ("digits", "train_defense.py", "--defense", "selena")),
    "hamp": (["final-all-models/resnet/hamp*"], ("digits", "train_defense.py", "--defense", "hamp")),
    "memguard": (["final-all-models/resnet/memguard*"], ("digits", "train_defense.py", "--defense", "memguard")),
    "ddpm": (["diff_defense/diff_models/*"], ("digits", "train_ddpm.py")),
    "evaluation": (["evaluate_MIAs/banks/*", "evaluate_MIAs/results/*"], EVALUATE),
}


@pytest.mark.parametrize("name", AT_ONCE)
def test_two_commands_at_once_on_one_target_end_as_one(digits: Path, tmp_path: Path, name: str) -> None:
    patterns, command = AT_ONCE[name]
    forget(digits, patterns)
    assert served.run(digits.parent, *command).returncode == 0
    alone = without_times(digits)
    forget(digits, patterns)
    both = [served.start(digits.parent, *command, output=tmp_path / str(number)) for number in range(2)]
    for process in both:
        process.join()
    said = "".join((tmp_path / f"{number}.stderr").read_text() for number in range(2))
    assert [process.exitcode for process in both] == [0, 0], said
    assert without_times(digits) == alone


def forget(digits: Path, patterns: list[str]) -> None:
    for path in itertools.chain.from_iterable(digits.glob(pattern) for pattern in patterns):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def without_times(digits: Path) -> dict[str, Any]:
    files: dict[str, Any] = {}
    for name, data in files_below(digits).items():
        if name.endswith("report.json"):
            files[name] = {
                key: value for key, value in json.loads(data).items() if "seconds" not in key and key != "made"
            }
        elif not name.endswith(".seconds.json") and "__pycache__" not in name:
            files[name] = data
    return files


def test_a_download_that_was_killed_leaves_nothing_for_long(tmp_path: Path) -> None:
    root = miniature.build(tmp_path / "copy")
    left = root / "svhn" / "data" / ".raw.0123456789abcdef.tmp"
    left.mkdir()
    (left / "half").touch()
    assert served.run(root, "svhn", "data_partition.py").returncode == 0
    assert {path.name for path in (root / "svhn" / "data").iterdir()} == {"raw", "partition.json"}


def test_the_training_of_a_diffusion_model_takes_away_what_it_left_half_written_and_nothing_of_others(
    digits: Path,
) -> None:
    """Others make diffusion models of their own, and the fence its key, in the same folder at the same time."""
    models = digits / "diff_defense" / "diff_models"
    before = files_below(digits)
    own, others = (
        [models / f".{name}.0123456789abcdef.tmp" for name in names]
        for names in (
            ("half.pt", "half.pt.progress", "half.txt", "purified.png", "samples.png"),
            ("both.pt", "photographs.pt.progress", "fence.key"),
        )
    )
    for path in [*own, *others]:
        path.touch()
    assert served.run(digits.parent, "digits", "train_ddpm.py").returncode == 0
    assert files_below(digits).keys() - before.keys() == {str(path.relative_to(digits)) for path in others}
