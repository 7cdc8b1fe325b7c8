"""An audit by its command: of saved answers, and of a model that is asked, in a folder with nothing else."""

import csv
import html
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from common.attacks import SHADOW_ATTACKS
from common.cli import audit
from common.cli.audit import main
from common.evaluation.audit import protocol as audit_protocol
from common.reports import write
from common.runtime import ownership
from tests.miniature import REPOSITORY

QUICK = [
    "--set",
    "evaluation.bootstrap=100",
    "--set",
    "evaluation.nn_attack.epochs=2",
    "--set",
    "evaluation.nn_attack.decay_epoch=1",
]


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Runs it in a folder of its own: (options) -> exit status, what it printed, what it complained of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def run(*options):
        status = main(list(options))
        return status, *capsys.readouterr()

    yield run
    sys.modules.pop("my_models", None)


IMAGES = ["--members", "members", "--non-members", "others"]


def report_of(folder, name):
    return json.loads((folder / "audits" / name / "report.json").read_text())


def saved(folder, *, gap=3.0):
    rng = np.random.default_rng(0)
    labels, member = rng.integers(0, 4, 200), np.arange(200) < 100
    logits = rng.normal(size=(200, 4))
    logits[np.arange(200), labels] += 1 + gap * member
    np.savez(folder / "mine.npz", logits=logits, labels=labels, member=member)


def test_saved_answers_are_audited_and_nothing_is_written_over_in_silence(tmp_path, command):
    saved(tmp_path)
    status, shown, complaint = command("--answers", "mine.npz", *QUICK)
    assert status == 0, complaint
    report = report_of(tmp_path, "mine")
    assert report["made"].keys() == {"command", "date", "device", "precision", "compile", "commit"}
    assert report["outputs"] == "logits" and report["diffence"] is False
    assert report["counts"]["final_test"] == {"members": 50, "non_members": 50}
    assert report["verdict"] in " ".join(shown.split()) and "attackers who train shadow models" in report["verdict"]
    assert report["protocols"]["held_out"]["best"]["auc"] > 0.8
    assert (tmp_path / "audits" / "mine" / "report.txt").read_text() in shown
    page = (tmp_path / "audits" / "mine" / "report.html").read_text()
    assert report["verdict"] in html.unescape(page) and "Diffence" not in page
    status, _, complaint = command("--answers", "mine.npz", *QUICK)
    assert status == 1 and "--replace" in complaint
    assert command("--answers", "mine.npz", *QUICK, "--replace")[0] == 0


@pytest.mark.parametrize("name", write.OF_AUDIT)
@pytest.mark.parametrize("options", [(), ("--replace",)])
def test_a_folder_with_a_file_that_is_no_audits_is_refused_before_the_work_and_left_alone(
    tmp_path, command, monkeypatch, name, options
):
    """Of the user's own, such as the very answers, or the report of an evaluation, which --replace does not mean."""
    (tmp_path / "my").mkdir()
    (tmp_path / "my" / name).write_text('{"dataset": "digits"}')
    monkeypatch.setattr(audit, "_audited", lambda *_: pytest.fail("went to work"))
    status, _, complaint = command("--answers", f"my/{name}", "--out", "my", *options)
    assert status == 1 and f"my/{name} would be written over or removed" in complaint
    assert [path.name for path in (tmp_path / "my").iterdir()] == [name]


def test_what_comes_into_the_folder_while_an_audit_goes_on_is_left_alone(tmp_path, command, monkeypatch):
    """Another audit of the same name, or a file of the user's own."""
    saved(tmp_path)
    mine = tmp_path / "audits" / "mine" / "report.txt"
    audited = audit._audited

    def meanwhile(*given):
        found = audited(*given)
        mine.parent.mkdir(parents=True)
        mine.write_text("mine")
        return found

    monkeypatch.setattr(audit, "_audited", meanwhile)
    status, _, complaint = command("--answers", "mine.npz", *QUICK, "--attacks", "loss")
    assert status == 1 and "audits/mine/report.txt would be written over" in complaint
    assert mine.read_text() == "mine" and list(mine.parent.iterdir()) == [mine]


def test_audits_that_end_at_once_write_one_after_the_other(tmp_path, command, monkeypatch):
    saved(tmp_path)
    owners = []

    @contextmanager
    def owned(target, *, given):
        owners.append((target, given))
        yield

    monkeypatch.setattr(ownership, "owned", owned)
    assert command("--answers", "mine.npz", *QUICK, "--attacks", "loss", "--csv", "--latex")[0] == 0
    assert owners == [(Path("audits/mine"), True)]
    written = {path.name for path in (tmp_path / "audits" / "mine").iterdir()}
    assert written <= {*write.OF_AUDIT} and {*write.OF_AUDIT} - written <= {"copies.png"}


@pytest.mark.parametrize(
    ("name", "folder"),
    [("../../x", "x"), ("/a/x", "a-x"), ("my model, v2.1", "my model- v2.1"), (".hidden", "hidden")],
)
def test_whatever_a_classifier_is_called_its_folder_is_in_audits(name, folder):
    assert audit.folder_name(name) == folder


def test_a_name_of_which_no_folder_can_be_made_is_refused(tmp_path, command):
    saved(tmp_path)
    status, _, complaint = command("--answers", "mine.npz", "--name", "..")
    assert status == 1 and "--name ..: has no letter" in complaint


def test_attacks_that_are_named_beside_the_fast_ones_are_tried_too(tmp_path, command):
    saved(tmp_path)
    fast, more = ("fast",), ("fast", "boundary")
    for attacks in (fast, more):
        assert (
            command("--answers", "mine.npz", *QUICK, "--out", f"audits/{len(attacks)}", "--attacks", *attacks)[0] == 0
        )
    reports = [report_of(tmp_path, str(len(attacks))) for attacks in (fast, more)]
    tried = [{*report["protocols"]["held_out"]["attacks"]} for report in reports]
    missing = [report["protocols"]["held_out"]["not_run"]["boundary"] for report in reports]
    shadows = [audit_protocol(attacks, shadows=True).chosen for attacks in (None, more)]
    assert {*shadows[0]} == {*shadows[1]} - {"boundary"} and {*SHADOW_ATTACKS} < {*shadows[0]}
    assert tried[0] == tried[1] and "--attacks boundary" in missing[0] and "--attacks boundary" not in missing[1]


def test_what_goes_with_a_model_is_refused_beside_saved_answers(tmp_path, command):
    saved(tmp_path)
    status, _, complaint = command("--answers", "mine.npz", "--non-members", "others", "--size", "64")
    assert status == 1 and "--non-members, --size: with --model only" in complaint
    with pytest.raises(SystemExit):
        command("--model", "m:f", "--normalize", "half", "1")


def test_an_audit_is_named_after_the_whole_of_a_function_or_a_file_without_its_ending(tmp_path):
    (tmp_path / "model.v2.pt").touch()
    assert audit.name_of(tmp_path / "model.v2.pt") == "model.v2"
    assert audit.name_of(Path("my_package.my_module:trained")) == "my_package.my_module.trained"


def test_the_command_runs_outside_of_the_repository(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "common.audit", "--answers", "nowhere.npz"],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1 and "nowhere.npz not found" in done.stderr


MODULE = """
import torch

def trained():
    def classify(x):  # surer where the first pixel is white, as those of members are
        sure = 1 + 9 * (x[:, :1, 0, 0] > 0.5).float()
        return sure * torch.cat([x.mean(dim=(1, 2, 3))[:, None] - 0.5, torch.zeros_like(sure)], dim=1)
    return classify
"""


@pytest.fixture
def images(tmp_path):
    """Bright and dark images, whose first pixel is white in members."""
    rng = np.random.default_rng(0)
    for part, corner in (("members", 255), ("others", 0)):
        for name, low in (("bright", 140), ("dark", 0)):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(8):
                pixels = rng.integers(low, low + 100, (9, 10, 3), dtype=np.uint8)
                pixels[0, 0] = corner
                Image.fromarray(pixels).save(tmp_path / part / name / f"{number}.png")
    (tmp_path / "my_models.py").write_text(MODULE)
    return tmp_path


def test_a_model_is_asked_about_images_in_folders(images, command):
    chosen = ("--attacks", "confidence", "shifted_copies", "--csv", "--latex")
    status, _, complaint = command("--model", "my_models:trained", *IMAGES, *chosen, *QUICK)
    assert status == 0, complaint
    report = report_of(images, "my_models.trained")
    rows = report["protocols"]["held_out"]["attacks"]
    assert rows["confidence"]["auc"] == 1.0 and rows["shifted_copies"]["queries"] == 5
    assert report["accuracy"] == {"train": 1.0, "test": 1.0}
    folder = images / "audits" / "my_models.trained"
    with (folder / "scores.csv").open() as file:
        scores = list(csv.DictReader(file))
    assert len(scores) == 16 and {row["index"] for row in scores if row["set"] == "test"} <= set(map(str, range(16)))
    by_member = {member: [float(row["confidence"]) for row in scores if row["member"] == member] for member in "01"}
    assert min(by_member["1"]) > max(by_member["0"])
    assert "Most exposed images" in (folder / "report.html").read_text() and (folder / "report.tex").is_file()


def test_a_model_is_read_from_a_file_of_torch_export(images, command):
    """The same classifier as a program: the images are told apart in the same way."""

    class Sure(torch.nn.Module):
        def forward(self, x):
            sure = 1 + 9 * (x[:, :1, 0, 0] > 0.5).float()
            return sure * torch.cat([x.mean(dim=(1, 2, 3))[:, None] - 0.5, torch.zeros_like(sure)], dim=1)

    batch = {0: torch.export.Dim("batch", min=1, max=1024)}
    program = torch.export.export(Sure(), (torch.rand(2, 3, 9, 10),), dynamic_shapes=(batch,))
    torch.export.save(program, images / "m.pt2")
    status, _, complaint = command("--model", "m.pt2", *IMAGES, "--attacks", "confidence", *QUICK)
    assert status == 0, complaint
    assert report_of(images, "m")["protocols"]["held_out"]["best"]["auc"] == 1.0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--model", "no_such:thing", *IMAGES], "no_such"),
        (["--model", "my_models:nothing", *IMAGES], "no function nothing"),
        (["--model", "my_models:trained"], "--model needs --members"),
        (["--model", "m.pt", *IMAGES], "m.pt not found"),
        (["--model", "my_models:trained", *IMAGES, "--normalize", "0.5,0.5", "1"], "for 3 channels"),
        (["--answers", "x.npz", "--set", "ddpm.T=3"], "this command reads evaluation"),
    ],
)
def test_what_is_wrong_is_said_by_name_and_nothing_is_written(images, command, options, says):
    status, _, complaint = command(*options)
    assert status == 1 and says in complaint and "Traceback" not in complaint
    assert not (images / "audits").exists()
