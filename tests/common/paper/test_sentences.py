"""What pages say in a sentence, against measurements that are made up."""

from types import SimpleNamespace

import numpy as np

from common.attacks import SHADOW_ATTACKS
from common.defenses import DEFENSES
from common.paper import figure4, figure7, figure9, figure11, figure12, table8
from common.paper.bench import Judged
from common.reports import paper
from common.runtime.paths import PAPER_RESULTS
from tests.common.paper.test_items import under

PAPER = paper.read(PAPER_RESULTS, defenses=DEFENSES)


def test_figure_four_ranks_no_scenarios_that_are_alike():
    assert figure4.said(0.66, [0.567, 0.576, 0.554]) == "less behind Diffence, in the three scenarios alike"
    assert figure4.said(0.66, [0.60, 0.52, 0.56]) == "less behind Diffence, in scenario 2 the least"
    assert figure4.said(0.60, [0.65, 0.64, 0.36]) == "not always less behind Diffence, in the three scenarios alike"


def test_figure_nine_says_whether_the_auc_follows_the_divergence(monkeypatch):
    divergences, aucs = np.array([0.1, 0.2, 0.3]), np.array([0.60, 0.64, 0.58])
    monkeypatch.setattr(figure9, "measured", lambda bench: (divergences, np.stack([aucs, aucs], axis=1)))
    made = figure9.make([SimpleNamespace(name="digits")], PAPER)
    assert made.says == (
        "the interval of least divergence leaves an AUC of 0.600, the one that leaves most 0.640; the AUC falls "
        "weakly with the divergence (rank correlation -0.50; in the paper it rises)"
    )
    assert "N = 50, T = 40, as in the paper; scenario 1." in made.notes


def test_figure_eleven_names_weak_trends(monkeypatch):
    place = np.arange(len(figure11.COUNTS))[:, None] + 0 * np.arange(len(figure11.STEPS))
    falling = -(place + np.arange(len(figure11.STEPS))).astype(float)
    for values, said in ((falling, "fall with N and with T:"), (-falling, "do not all fall with N and with T:")):
        monkeypatch.setattr(figure11, "measured", lambda bench, values=values: np.stack([values, values], axis=2))
        assert figure11.make([SimpleNamespace(name="digits")], PAPER).says.startswith(f"AUC and accuracy {said}")


def test_figure_seven_says_what_attackers_get_who_ask_once_and_who_ask_again(monkeypatch):
    def rate(value):
        return {figure7.RATE: SimpleNamespace(value=value)}

    def under_fences(store, kinds):
        """Alone 4 %; behind the fence 1 % who ask once, and who ask again 2 % of the TPR and 5 % of the TNR."""
        found = []
        for fenced in (False, True):
            rows = {}
            for name in SHADOW_ATTACKS:
                again = (0.02, 0.05) if name not in figure7.ONCE else (0.01, 0.01)
                tpr, tnr = again if fenced else (0.04, 0.04)
                models = SimpleNamespace(tpr_at_fpr=rate(tpr), tnr_at_fnr=rate(tnr))
                rows[name] = SimpleNamespace(models=models)
            found.append(SimpleNamespace(attacks=rows))
        return dict(zip(figure7.KINDS, found, strict=True))

    stores = [
        (SimpleNamespace(subject=SimpleNamespace(defense=name), there=lambda: range(17)), 16)
        for name in figure7.DEFENSES
    ]
    monkeypatch.setattr(figure7, "stores", lambda bench: stores)
    monkeypatch.setattr(figure7.shadow_audit, "under_fences", under_fences)
    made = figure7.make([SimpleNamespace(name="digits")], PAPER)
    assert made.says == (
        "the TPR at 0.1 % FPR of attackers with shadow models who ask once falls by 75.0 % for undefended, and falls "
        "by 75.0 % on the mean of the six defences (paper: falls by 52.8 %). Where sixteen queries are asked too, it "
        "falls by 50.0 % for undefended, and falls by 50.0 % on the mean, but the TNR at 0.1 % FNR rises for "
        "undefended, SELENA, AdvReg, HAMP, RelaxLoss, DP-SGD and MemGuard"
    )
    assert made.notes[0].startswith("16 shadow models")


def test_figure_twelve_says_n_and_t(monkeypatch):
    def cases(bench):
        subjects = [SimpleNamespace(model=m, defense=name) for m in figure12.MODELS for name in figure12.defenses(m)]
        return [SimpleNamespace(subject=each, only=Judged(under(0.8, 0.7), under(0.6, 0.6))) for each in subjects]

    monkeypatch.setattr(figure12, "cases", cases)
    config = SimpleNamespace(num_candidates=8, step=160)
    made = figure12.make([SimpleNamespace(name="digits", experiment=SimpleNamespace(fence_config=config))], PAPER)
    assert made.notes[0] == "Scenario 1, N = 8, T = 160 (the paper: N = 30, T = 160)."


def test_table_eight_names_what_takes_longest(monkeypatch):
    seconds = dict.fromkeys(table8.DEFENSES, 10.0) | {"selena": 100.0, "memguard": None}
    folder = SimpleNamespace(classifier=lambda subject: subject.defense, ddpm="ddpm")
    monkeypatch.setattr(table8, "last_seconds", lambda path: seconds.get(path))
    made = table8.make([SimpleNamespace(name="digits", experiment=SimpleNamespace(folder=folder))], PAPER)
    assert made.says == (
        "SELENA takes longest to train (paper: SELENA and AdvReg on CIFAR-10, AdvReg on CIFAR-100, SELENA on SVHN)"
    )
    assert any(note.startswith("MemGuard's come on top of") for note in made.notes)
