import hashlib
import json

import pytest
import torch

from common.runtime import checkpoints
from common.runtime.errors import UserError
from common.training.jobs import Job, is_done, last_seconds, seconds_path, state, teachers
from common.training.provenance import Provenance
from tests.common.training import job_at, scored_run

MADE_FROM = {"seed": 0, "settings": {"lr": 0.1, "blocks": (1, 2)}}


def verdict(job):
    """What is_done says, and its verdict."""
    said = []
    return is_done(job, say=said.append), "".join(said)


def test_finished_work_is_recognised(tmp_path):
    job = job_at(tmp_path, **MADE_FROM)
    assert verdict(job) == (False, "")
    scored_run(job, [0.5])
    assert verdict(job) == (True, f"{job.path} is there already and up to date")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, "seed: 0 -> 1"),
        ({"settings": {"lr": 0.2, "blocks": (1, 2)}}, "settings.lr: 0.1 -> 0.2"),
        ({"settings": {"lr": 0.1}}, "settings.blocks: (1, 2) -> nothing"),
        ({"seed": 3, "defense": "x"}, "defense: nothing -> x, seed: 0 -> 3"),
    ],
)
def test_what_changed_since_is_said(tmp_path, change, said):
    scored_run(job_at(tmp_path, **MADE_FROM), [0.5])
    job = job_at(tmp_path, **(MADE_FROM | change))
    assert verdict(job) == (False, f"{job.path} is trained anew: {said}")


@pytest.mark.parametrize("content", [{"state_dict": {}}, {"state_dict": {}, "made_from": "elsewhere"}])
def test_a_checkpoint_from_elsewhere_is_refused_and_left_alone(tmp_path, content):
    job = job_at(tmp_path)
    torch.save(content, job.path)
    before = job.path.read_bytes()
    with pytest.raises(UserError, match="was not trained here and will not be overwritten"):
        is_done(job)
    assert job.path.read_bytes() == before


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def stated(job):
    """What state says, and that it changes nothing."""
    before = files(job.path.parent)
    now = state(job)
    assert files(job.path.parent) == before
    return now.done, now.says


def test_the_state_of_a_job_is_said_and_nothing_is_changed(tmp_path):
    job = job_at(tmp_path, **MADE_FROM)
    assert stated(job) == (False, "not there")
    with pytest.raises(KeyboardInterrupt):
        scored_run(job, [0.5, 0.6], stop_in=1)
    assert stated(job) == (False, "begun, goes on where it stopped")
    scored_run(job, [0.5, 0.6])
    job.progress_path.write_bytes(b"left by a killed run")
    job.growing_log_path.write_bytes(b"left by a killed run")
    assert stated(job) == (True, "there already and up to date")
    assert is_done(job) and not job.progress_path.exists() and not job.growing_log_path.exists()
    assert stated(job_at(tmp_path, **(MADE_FROM | {"seed": 1}))) == (False, "trained anew: seed: 0 -> 1")


def test_the_state_of_a_checkpoint_from_elsewhere_is_an_error_and_nothing_is_changed(tmp_path):
    job = job_at(tmp_path)
    torch.save({"state_dict": {}}, job.path)
    before = files(tmp_path)
    with pytest.raises(UserError, match=r"classifier\.pth\.tar was not trained here and will not be overwritten"):
        state(job)
    assert files(tmp_path) == before


ANY = {"dataset": "digits", "partition": "0123456789abcdef", "seed": 0, "precision": "bf16"}
SETTINGS = {"epochs": 3, "noise_multiplier": None}  # a null in a YAML file is a setting, and stays
CLASSIFIER = {"defense": "dpsgd", "classifier": {"vit": {"layers": 2}}, "settings": SETTINGS}


@pytest.mark.parametrize(
    "made_from",
    [
        ANY | {"ddpm": {"unet": {"ch": 32}, "schedule": {"T": 1000}}},
        ANY | CLASSIFIER,
        ANY | CLASSIFIER | {"teacher": 0},
        ANY | CLASSIFIER | {"undefended": 64 * "a", "tuning_members": 16 * "b"},
    ],
)
def test_checkpoints_of_before_provenance_was_typed_are_still_recognised(tmp_path, made_from):
    """They hold these keys in this order, and nothing that does not apply; bytes and keys hang on both."""
    job = Job(tmp_path / "x.pth.tar", Provenance(**made_from))
    record = job.made_from.record()
    assert record == made_from and list(record) == list(made_from)
    assert job.key == hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]
    torch.save({"state_dict": {}, "made_from": made_from}, job.path)
    assert stated(job) == (True, "there already and up to date, unchecked: it has no checksum")
    job.path.unlink()
    scored_run(job, [0.5])
    assert checkpoints.read(job.path, expect={}).content["made_from"] == made_from


@pytest.mark.parametrize("wrong", [{"seed": "0"}, {"precision": "fp16"}, {"partition": None}, {"surprise": 1}])
def test_a_provenance_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Provenance(**(ANY | wrong))


def test_seconds_are_read_where_they_were_written_and_damage_is_named(tmp_path):
    checkpoint = tmp_path / "x.pth.tar"
    assert last_seconds(checkpoint) is None
    path = seconds_path(checkpoint)
    assert path.name == "x.pth.tar.seconds.json"
    path.write_text('{"seconds": 12.5}')
    assert last_seconds(checkpoint) == 12.5
    for damaged in ("{", '{"seconds": "x"}', '{"seconds": -1}', "3"):
        path.write_text(damaged)
        with pytest.raises(UserError, match=r"x\.pth\.tar\.seconds\.json"):
            last_seconds(checkpoint)


def test_the_seconds_of_teachers_are_counted(tmp_path):
    checkpoint = tmp_path / "selena.pth.tar"
    for path, seconds in (
        (checkpoint, 2.0),
        (teachers(checkpoint) / "00.pth.tar", 3.0),
        (teachers(checkpoint) / "01.pth.tar", 4.5),
    ):
        path.parent.mkdir(exist_ok=True)
        seconds_path(path).write_text(json.dumps({"seconds": seconds}))
    assert last_seconds(checkpoint) == 9.5
    assert teachers(tmp_path / "original_selena.pth.tar") == tmp_path / "original_selena.teachers"


def test_a_finished_checkpoint_makes_room_and_comes_back_to_the_byte(tmp_path):
    first, other = (job_at(tmp_path, **(MADE_FROM | {"seed": seed})) for seed in (0, 1))
    scored_run(first, [0.5])
    written = files(tmp_path)
    scored_run(other, [0.25])
    assert state(other).done and files(tmp_path / f"{first.path.name}.before" / first.key) == written
    assert "comes back" in state(first).says
    first.take_back()
    assert state(first).done and written.items() <= files(tmp_path).items()
    assert not (tmp_path / f"{first.path.name}.before" / first.key).exists()
    assert state(Job(tmp_path / f"{first.path.name}.before" / other.key / first.path.name, other.made_from)).done
    other.take_back()
    assert state(other).done


NORMALISATIONS = [{"mean": [mean], "std": [0.3]} for mean in (0.5, 0.9)]


def test_checkpoints_that_do_not_say_their_normalisation_come_back_and_go_on(tmp_path):
    older, other = job_at(tmp_path, **MADE_FROM), job_at(tmp_path, **(MADE_FROM | {"seed": 1}))
    job, changed = (job_at(tmp_path, **MADE_FROM, normalisation=each) for each in NORMALISATIONS)
    with pytest.raises(KeyboardInterrupt):
        scored_run(older, [0.5, 0.6], stop_in=1)
    assert stated(job) == (False, "begun, goes on where it stopped")
    assert scored_run(job, [0.5, 0.6])[1] == [1]  # the first round is not played again
    assert state(job).done and not state(changed).done
    job.path.unlink()
    scored_run(older, [0.5])
    assert state(job).done and state(changed).done
    scored_run(other, [0.25])  # which puts the older one aside
    assert "comes back" in state(job).says
    job.take_back()
    assert state(job).done and "normalisation" not in checkpoints.read(job.path, expect={}).content["made_from"]


def test_a_damaged_checkpoint_is_trained_anew_and_not_kept(tmp_path):
    job = job_at(tmp_path, **MADE_FROM)
    scored_run(job, [0.5])
    job.path.write_bytes(job.path.read_bytes()[:-10])
    scored_run(job, [0.5])
    assert state(job).done and not (tmp_path / f"{job.path.name}.before").exists()


def test_the_pictures_of_a_diffusion_model_do_not_make_another_one_of_it(tmp_path):
    recipes = [{"unet": {"ch": 8}, "training": {"total_steps": 10, "sample_steps": steps}} for steps in (50, 20)]
    job, other = (job_at(tmp_path, **(MADE_FROM | {"ddpm": recipe})) for recipe in recipes)
    assert job.key == other.key
    scored_run(job, [0.5])
    older = checkpoints.read(job.path, expect={}).content
    checkpoints.save(
        job.path, older | {"made_from": older["made_from"] | {"ddpm": recipes[0]}}
    )  # as it was written before
    assert state(other).done
    changed = recipes[1] | {"training": {"total_steps": 20, "sample_steps": 20}}
    assert not state(job_at(tmp_path, **(MADE_FROM | {"ddpm": changed}))).done


@pytest.mark.parametrize(
    ("made_from", "title"),
    [
        ({"ddpm": {"T": 1000}}, "diffusion model"),
        ({"defense": "advreg"}, "advreg"),
        ({"defense": "selena", "teacher": 2, "settings": {"teachers": 10}}, "selena, teacher 3 of 10"),
    ],
)
def test_a_job_has_the_name_of_what_is_trained(tmp_path, made_from, title):
    assert job_at(tmp_path, **made_from).title == title
