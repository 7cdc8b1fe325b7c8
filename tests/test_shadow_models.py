"""Shadow models by the real command lines: a store that grows, is refused where it does not fit, and is audited."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from common.attacks import SHADOW_ATTACKS
from common.cli.summary import main as summary
from common.data.shadows import TARGET
from common.defenses import DEFENSES
from common.experiment import shadow_audit, train_shadows
from common.experiment.experiment import Experiment
from common.experiment.shadow_store import Store
from common.runtime import checkpoints, rng, storage
from common.runtime.errors import UserError
from common.runtime.images import to_float
from common.runtime.paths import DatasetFolder
from common.runtime.subject import Subject
from tests import served
from tests.miniature import files_below

TRAIN = ("digits", "train_shadows.py", "--defense")
AUDIT = ("digits/evaluate_MIAs", "evaluate.py", "--defense")
BY_SHADOWS = set(SHADOW_ATTACKS)


@pytest.fixture
def root(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "copy"))


def test_a_store_grows_and_is_audited(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert summary(["--shadows"], root=root) == 1
    assert "`python train_shadows.py --defense undefended`" in capsys.readouterr().err
    models = root / "digits" / "final-all-models" / "resnet"
    before = files_below(models)
    done = served.run(root, *TRAIN, "undefended", "--count", "8")
    assert done.returncode == 0, done.stderr
    store = models / "undefended.shadows"
    first = files_below(store)
    assert sorted(first) == [*(f"{number:04}.logits.pth" for number in range(9)), "store.json"]  # no model is kept
    assert {name: data for name, data in files_below(models).items() if ".shadows/" not in name} == before

    said = served.run(root, *TRAIN, "undefended", "--count", "10", "--dry-run").stdout
    assert "9 of 11 models' answers there" in said
    done = served.run(root, *TRAIN, "undefended", "--count", "10", "--keep-models")
    assert done.returncode == 0, done.stderr
    after = files_below(store)
    assert {name: after[name] for name in first} == first  # what was there is not touched
    assert {"0009.logits.pth", "0010.pth.tar"} <= after.keys() and "0008.pth.tar" not in after

    done = served.run(root, *AUDIT, "undefended", "--shadows")
    assert done.returncode == 0, done.stderr
    results = root / "digits" / "evaluate_MIAs" / "results" / "undefended_shadows"
    report = json.loads((results / "shadows.json").read_text())
    assert (results / "shadows.txt").read_text() in done.stdout
    assert (report["shadows"], report["canaries"], list(report["fences"])) == (10, 0, ["none", "paper", "steady"])
    for name, part in report["fences"].items():
        assert part["attacks"].keys() | part["not_run"].keys() == BY_SHADOWS
        assert not part["not_run"]
        if name == "none":  # near-copies are answered like the image
            assert part["attacks"]["lira_16"]["auc"] == part["attacks"]["lira"]["auc"]
        for row in part["attacks"].values():
            assert row["auc_ci"][0] <= row["auc"] <= row["auc_ci"][1] and row["canaries"] is None
            assert row["epsilon"]["lower_bound"] <= row["epsilon"]["ceiling"]
    document = root / "table.md"
    document.write_text("<!-- by shadow models: begin -->\n<!-- by shadow models: end -->\n")
    assert summary(["--shadows"], root=root) == 0
    assert "undefended  10" in capsys.readouterr().out
    assert summary(["--shadows", "--dataset", "digits", "--into", str(document)], root=root) == 0
    assert "| undefended | 10 | - |" in document.read_text()
    (results / "shadows.json").write_bytes((results / "shadows.json").read_bytes()[:-9])
    assert summary(["--shadows"], root=root) == 1 and "shadows.json: not readable" in capsys.readouterr().err
    assert len(report["vulnerable"]) == 10 and (results / "vulnerable.png").stat().st_size > 0


@pytest.mark.parametrize("defense", [name for name, each in DEFENSES.items() if each.needs_reference])
def test_no_defence_learns_from_samples_that_attacks_are_scored_on(trained: Path, defense: str) -> None:
    experiment = Experiment.at(DatasetFolder(trained / "digits"))
    for canaries in (0, 8):
        store = Store.of(experiment, Subject(defense=defense), canaries=canaries)
        asked = {rng.sample_key(image) for image in to_float(store.pool.samples.images)}
        for number in range(3):
            assert store.subject_of(number).shadow == number  # the target too is trained anew
            own = store.member_experiment(number)
            for count in (len(own.partition.reference), len(own.partition.reference) + len(own.partition.validation)):
                learnt_from = {rng.sample_key(image) for image in to_float(own.reference_part(count).images)}
                assert learnt_from and not learnt_from & asked
    assert Store.of(experiment, Subject(), canaries=0).subject_of(TARGET).shadow is None


def test_a_defence_leaves_the_undefended_shadow_models_that_were_kept(root: Path) -> None:
    assert served.run(root, *TRAIN, "undefended", "--count", "2", "--keep-models").returncode == 0
    models = root / "digits" / "final-all-models" / "resnet"
    kept = files_below(models / "undefended.shadows")
    assert "0001.pth.tar" in kept
    done = served.run(root, *TRAIN, "memguard", "--count", "2")
    assert done.returncode == 0, done.stderr
    assert files_below(models / "undefended.shadows") == kept
    assert not list((models / "memguard.shadows").glob("*.pth.tar"))


def test_canaries_are_in_models_of_their_own(root: Path) -> None:
    done = served.run(root, *TRAIN, "memguard", "--count", "8", "--canaries", "8")
    assert done.returncode == 0, done.stderr
    models = root / "digits" / "final-all-models" / "resnet"
    assert not (models / "undefended.shadows-8-canaries").exists()  # which these were built on
    assert not list((models / "memguard.shadows-8-canaries").glob("*.pth.tar"))
    done = served.run(root, *AUDIT, "memguard", "--shadows", "8")
    assert done.returncode == 0, done.stderr
    assert "One run, steady fence" in done.stdout and "4 of 8 canaries" in done.stdout
    results = root / "digits" / "evaluate_MIAs" / "results" / "memguard_shadows-8-canaries"
    report = json.loads((results / "shadows.json").read_text())
    assert report["canaries"] == report["samples"]["canaries"] == 8
    for part in report["fences"].values():
        assert all(row["canaries"] is not None for row in part["attacks"].values())
        assert part["one_run"]["lower_bound"] <= part["one_run"]["ceiling"]


def test_shadow_models_may_have_diffusion_models_of_their_own(root: Path) -> None:
    own = ("--set", "evaluation.shadows.diffusion=own")
    digits = root / "digits"
    banks = digits / "evaluate_MIAs" / "banks"
    before = files_below(banks) if banks.is_dir() else {}
    done = served.run(root, *TRAIN, "undefended", "--count", "8", *own)
    assert done.returncode == 0, done.stderr
    store = digits / "final-all-models" / "resnet" / "undefended.shadows-own-diffusion"
    assert sorted(files_below(store)) == [*(f"{number:04}.logits.pth" for number in range(9)), "store.json"]
    assert (files_below(banks) if banks.is_dir() else {}) == before  # reconstructions of one model serve no other
    first = files_below(store)["0001.logits.pth"]
    (store / "0001.logits.pth").unlink()
    done = served.run(root, *TRAIN, "undefended", "--count", "8", "--keep-models", *own)
    assert done.returncode == 0, done.stderr
    kept = files_below(store)
    assert kept["0001.logits.pth"] == first and {"0001.ddpm.pt", "0001.ddpm.txt", "0001.pth.tar"} <= kept.keys()
    assert kept["0001.ddpm.pt"] != (digits / "diff_defense" / "diff_models" / "half.pt").read_bytes()

    done = served.run(root, *AUDIT, "undefended", "--shadows", *own)
    assert done.returncode == 0 and "8 shadow models behind a diffusion model of their own each" in done.stdout
    results = digits / "evaluate_MIAs" / "results" / "undefended_shadows-own-diffusion"
    assert json.loads((results / "shadows.json").read_text())["diffusion"] == "own"
    done = served.run(root, *TRAIN, "undefended", "--count", "8", *own, "--set", "ddpm.training.learning_rate=0.5")
    assert done.returncode == 1 and "half.pt was trained otherwise than shadow models' own" in done.stderr
    assert "training.learning_rate: 0.001 -> 0.5" in done.stderr
    for on in ("reference", "both"):  # the others of the pool, on whom attacks are scored
        done = served.run(root, *TRAIN, "undefended", "--count", "8", *own, "--set", f"ddpm.training.trained_on={on}")
        assert done.returncode == 1 and f"their own members, not from {on}" in done.stderr
    shared = served.run(root, *TRAIN, "undefended", "--count", "8", "--set", "ddpm.training.learning_rate=0.5")
    assert shared.returncode == 1 and "this command reads" in shared.stderr


def test_too_few_or_other_shadow_models_are_refused_by_name(root: Path) -> None:
    done = served.run(root, *AUDIT, "undefended", "--shadows")
    assert done.returncode == 1 and "`python train_shadows.py --defense undefended`" in done.stderr
    assert served.run(root, *TRAIN, "undefended", "--count", "2").returncode == 0
    store = root / "digits" / "final-all-models" / "resnet" / "undefended.shadows"
    done = served.run(root, *AUDIT, "undefended", "--shadows")
    assert done.returncode == 1 and "has 2 shadow models, and an audit needs at least 8" in done.stderr
    before = files_below(store)
    done = served.run(root, *TRAIN, "undefended", "--count", "4", "--set", "evaluation.shadows.candidates=5")
    assert done.returncode == 1 and "near.candidates: 4 -> 5" in done.stderr
    assert "undefended.shadows was made with other settings" in done.stderr
    done = served.run(root, *TRAIN, "undefended", "--count", "4", "--set", "diffence.steady.noise=shared")
    assert done.returncode == 1 and "steady.noise in configs/diffence.yaml must be per_image" in done.stderr
    done = served.run(root, *TRAIN, "undefended", "--count", "4", "--set", "undefended.learning_rate=0.5")
    assert done.returncode == 1 and "learning_rate: 0.001 -> 0.5" in done.stderr
    assert "undefended.pth.tar was trained with other settings than shadow models would be" in done.stderr
    assert files_below(store) == before


def store_of(root: Path, **settings: Any) -> Store:
    return Store.of(Experiment.at(DatasetFolder(root / "digits"), overrides=settings), Subject(), canaries=0)


def change_target(store: Store, **made_from: Any) -> None:
    """Put another file in the place of the target's."""
    path = store.experiment.folder.classifier(Subject())
    content = checkpoints.read(path, expect={}).content
    checkpoints.save(path, {**content, "made_from": {**content["made_from"], **made_from}})


def test_a_store_of_another_normalisation_is_refused_and_one_that_does_not_say_it_goes_on(root: Path) -> None:
    change_target(store_of(root), normalisation=None)  # which is refused by itself where it says another
    made = store_of(root)
    storage.write_json(made.record, made.settings)
    assert store_of(root).key == made.key
    with pytest.raises(UserError, match=r"undefended\.shadows was made with other settings .*normalisation\.mean: "):
        _ = store_of(root, data={"mean": [0.9]}).key
    before = {name: value for name, value in made.settings.items() if name != "normalisation"}
    storage.write_json(made.record, before)
    assert store_of(root).settings == store_of(root, data={"mean": [0.9]}).settings == before
    assert store_of(root).key == storage.digest(before)  # which its answers hold


def test_a_store_of_another_target_is_refused_and_one_that_does_not_say_its_own_goes_on(root: Path) -> None:
    made = store_of(root)
    storage.write_json(made.record, made.settings)
    change_target(made, seed=1)
    with pytest.raises(UserError, match=r"undefended\.shadows was made with other settings .*target: "):
        store_of(root).require()
    before = {name: value for name, value in made.settings.items() if name != "target"}
    storage.write_json(made.record, before)
    store_of(root).require()
    assert "target" not in Store.of(made.experiment, Subject(), canaries=8).settings  # which is trained anew


def test_an_audit_warns_of_a_target_that_was_trained_on_another_partition(root: Path) -> None:
    assert shadow_audit._notes(store_of(root)) == []
    change_target(store_of(root), partition="another")
    (note,) = shadow_audit._notes(store_of(root))
    assert note.startswith("WARNING: the classifier was trained on another partition")


def test_models_that_were_not_kept_are_told_where_they_are_asked_for(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = store_of(root)
    store.folder.mkdir()
    for number in range(5):
        store.path(number).touch()
    (store.folder / "0001.pth.tar").touch()
    train_shadows.train(store, count=4, keep_models=True)
    assert "--keep-models: 3 models were not kept" in capsys.readouterr().out
    train_shadows.train(store, count=4, keep_models=False)
    assert "--keep-models" not in capsys.readouterr().out


@pytest.mark.parametrize("count", ["3", "0"])
def test_an_odd_number_is_no_number_of_pairs(root: Path, count: str) -> None:
    assert served.run(root, *TRAIN, "undefended", "--count", count).returncode == 2


def test_a_damaged_answer_is_named_with_the_way_out(root: Path) -> None:
    assert served.run(root, *TRAIN, "undefended", "--count", "8").returncode == 0
    path = root / "digits" / "final-all-models" / "resnet" / "undefended.shadows" / "0003.logits.pth"
    whole = path.read_bytes()
    path.write_bytes(whole[:-50])
    done = served.run(root, *AUDIT, "undefended", "--shadows")
    assert done.returncode == 1 and "0003.logits.pth" in done.stderr and "delete it" in done.stderr
    path.write_bytes((path.with_name("0004.logits.pth")).read_bytes())
    done = served.run(root, *AUDIT, "undefended", "--shadows")
    assert done.returncode == 1 and "0003.logits.pth is not of this store" in done.stderr
    path.unlink()
    assert served.run(root, *TRAIN, "undefended", "--count", "8").returncode == 0
    assert path.read_bytes() == whole
