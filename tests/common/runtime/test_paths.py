from pathlib import Path

import pytest

from common.runtime.paths import DatasetFolder, dataset_names
from common.runtime.subject import Subject

FOLDER = DatasetFolder(Path("/somewhere/digits"))


@pytest.mark.parametrize(
    ("subject", "diffence", "path"),
    [
        (Subject(), False, "results/undefended"),
        (Subject("resnet", "selena"), True, "results/selena_w_diffence"),
        (Subject("vit", "selena"), True, "results/vit/selena_w_diffence"),
        (Subject("resnet", "selena", original="selena"), False, "results/original_selena"),
        (Subject("vit", "undefended", original="hamp"), True, "results/vit/original_undefended_hamp_w_diffence"),
    ],
)
def test_results_of_the_default_model_have_no_folder_of_their_own_between(subject, diffence, path):
    assert FOLDER.results(subject, diffence=diffence) == FOLDER.root / "evaluate_MIAs" / path


def test_a_shadow_model_stands_beside_its_target():
    target, shadow = (FOLDER.classifier(Subject("vit", "hamp", number)) for number in (None, 7))
    assert target == FOLDER.root / "final-all-models/vit/hamp.pth.tar"
    assert shadow == FOLDER.root / "final-all-models/vit/hamp.shadows/0007.pth.tar"


def test_subjects_are_shown_with_their_model_and_trained_by_a_command():
    assert str(Subject("vit", "hamp")) == "hamp (vit)" and str(Subject("vit", "hamp", 7)) == "hamp (vit), shadow 7"
    assert Subject().training_command == "python train_defense.py --defense undefended"
    assert Subject("vit", "hamp").training_command == "python train_defense.py --defense hamp --model vit"


def test_what_was_trained_as_in_a_paper_stands_apart_under_the_name_of_its_settings():
    defended, plain = Subject("resnet", "selena", original="selena"), Subject("vit", "undefended", original="selena")
    assert FOLDER.classifier(defended) == FOLDER.root / "final-all-models/resnet/original_selena.pth.tar"
    assert FOLDER.classifier(plain) == FOLDER.root / "final-all-models/vit/original_undefended_selena.pth.tar"
    assert (defended.settings, plain.settings) == ("original/selena", "original/undefended_selena")
    assert str(plain) == "undefended (vit), as in selena's paper"
    assert defended.training_command == "python train_defense.py --defense selena --original selena"
    assert [each.is_default for each in (defended, plain, Subject(), Subject("vit"))] == [False, False, True, False]


def test_a_dataset_folder_is_one_with_a_data_yaml(tmp_path):
    for name in ("svhn", "birds", "not_one"):
        (tmp_path / name / "configs").mkdir(parents=True)
    for name in ("svhn", "birds"):
        (tmp_path / name / "configs" / "data.yaml").write_text("")
    assert dataset_names(tmp_path) == ("birds", "svhn")
