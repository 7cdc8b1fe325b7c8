from common.cli.summary import main
from common.evaluation.record import Report
from common.reports import over_seeds
from common.runtime.subject import Subject
from tests.common.reports.golden import made
from tests.common.reports.test_reading import report, write

WITHOUT, FENCED = made().values()


def changed(report: Report, **changes: object) -> Report:
    main = report.protocols[report.main].model_copy(update=changes)
    return report.model_copy(update={"protocols": {**report.protocols, report.main: main}})


def test_seeds_are_summed_up_as_mean_and_standard_deviation():
    part = FENCED.protocols["held_out"]
    pairs = []
    for seed, auc in enumerate((0.50, 0.56, 0.62)):
        row = part.attacks["loss"].model_copy(update={"auc": auc})
        best = part.best.model_copy(update={"auc": 0.7 + auc / 10})
        pairs.append((WITHOUT, changed(FENCED, attacks={"loss": row}, best=best).model_copy(update={"seed": seed})))
    shown = over_seeds.table({Subject("resnet", "dpsgd"): pairs}, style="markdown")
    (overview,) = [line for line in shown.splitlines() if line.startswith("| dpsgd")]
    assert "| 3 |" in overview and "0.756 ± 0.006" in overview
    (loss,) = [line for line in shown.splitlines() if line.startswith("| loss")]
    assert "0.560 ± 0.060" in loss
    before = WITHOUT.protocols["held_out"].attacks["loss"].auc
    assert f"{0.56 - before:+.3f} ± 0.060" in loss
    assert "seeds 0, 1, 2" in shown


def test_what_is_not_known_for_every_seed_has_no_mean():
    assert over_seeds.spread([0.5, None]) == "-" and over_seeds.spread([]) == "-"
    assert over_seeds.spread([0.25]) == "0.250"


def of_seed(root, seed, **content):
    """A pair of reports in the folder of a seed."""
    for fenced in (False, True):
        made_up = {**report(fenced=fenced, **content), "seed": seed, "evaluation": f"evaluation {seed}"}
        path = "results/selena" + ("_w_diffence" if fenced else "")
        write(root, made_up, below=f"seeds/{seed}/evaluate_MIAs/{path}")


def test_every_finished_seed_is_found_and_half_written_ones_are_not(tmp_path, capsys):
    for seed, auc in ((0, 0.6), (7, 0.7)):
        of_seed(tmp_path, seed, auc=auc)
    write(tmp_path, {**report(auc=0.9), "seed": 3}, below="seeds/3/evaluate_MIAs/results/selena")  # one of two
    assert main(["--dataset", "digits", "--seeds"], root=tmp_path) == 0
    shown = capsys.readouterr().out
    assert "selena (resnet), seeds 0, 7" in shown and "0.650 ± 0.071" in shown


def test_without_any_the_command_that_makes_them_is_named(tmp_path, capsys):
    assert main(["--dataset", "digits", "--seeds"], root=tmp_path) == 1
    assert "evaluate_mia.sh --defense undefended --seeds" in capsys.readouterr().err


BEGIN, END = "<!-- over seeds: begin -->", "<!-- over seeds: end -->"


def test_tables_are_written_between_the_marks_of_a_document_and_nowhere_else(tmp_path):
    of_seed(tmp_path, 0)
    document = tmp_path / "results.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    command = ["--dataset", "digits", "--seeds", "--into", str(document)]
    assert main(command, root=tmp_path) == 0
    first = document.read_text()
    assert first.startswith(f"before\n{BEGIN}\n") and first.endswith(f"{END}\nafter\n")
    assert "old" not in first and "| selena |" in first
    assert main(command, root=tmp_path) == 0 and document.read_text() == first
    document.write_text("no marks")
    assert main(command, root=tmp_path) == 1 and document.read_text() == "no marks"
    assert main(["--into", str(document)], root=tmp_path) == 1
