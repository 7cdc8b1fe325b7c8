"""Figure 7: TPR at few false positives and TNR at few false negatives, by attacks that train shadow models."""

from collections.abc import Sequence
from dataclasses import replace

from common.evaluation.shadow_record import UnderFence
from common.experiment import shadow_audit
from common.experiment.shadow_store import Store
from common.paper.bench import Bench, mean
from common.paper.interface import Item, Made, Table
from common.paper.table3 import DEFENSES
from common.reports import charts
from common.reports.paper import Paper
from common.runtime.subject import Subject

COUNT, CANARIES = 16, 32  # as `make shadows` has them, so that its stores serve
RATE = "0.001"
KINDS = (shadow_audit.NO_FENCE, "paper")


def stores(bench: Bench) -> list[tuple[Store, int]]:
    """Of each defence, in scenario 3."""
    own = bench.experiment
    scenario = {"diffence": {**own.overrides.get("diffence", {}), "scenario": 3}}
    changed = replace(own, overrides={**own.overrides, **scenario})
    return [(Store.of(changed, Subject(defense=name), canaries=CANARIES), COUNT) for name in DEFENSES]


def _rates(found: UnderFence) -> tuple[float, float]:
    """The greatest TPR and TNR of any attack, per cent, canaries left out."""
    rows = [row.models for row in found.attacks.values()]
    tpr, tnr = max(row.tpr_at_fpr[RATE].value for row in rows), max(row.tnr_at_fnr[RATE].value for row in rows)
    return 100 * tpr, 100 * tnr


def make(benches: Sequence[Bench], paper: Paper) -> Made:
    rows, falls = [], []
    audited = {bench.name: {store.subject.defense: store for store, _ in stores(bench)} for bench in benches}
    bars: dict[str, list[float]] = {"alone": [], "with Diffence": []}
    for defense in DEFENSES:
        found = [shadow_audit.under_fences(of[defense]) for of in audited.values()]
        sides = [[mean(values) for values in zip(*(_rates(of[name]) for of in found), strict=True)] for name in KINDS]
        (tpr, tnr), (fenced_tpr, fenced_tnr) = sides
        falls.append((_fall(tpr, fenced_tpr), _fall(tnr, fenced_tnr)))
        rows.append([defense, *(f"{value:.1f}" for value in (tpr, fenced_tpr, tnr, fenced_tnr))])
        bars["alone"].append(tpr)
        bars["with Diffence"].append(fenced_tpr)
    reported, (first, *others) = paper.figure7, falls
    six = mean([tpr for tpr, _ in others])
    header = ["defence", "TPR at 0.1 % FPR, alone", "with Diffence", "TNR at 0.1 % FNR, alone", "with Diffence"]
    table = [
        ["TPR, undefended", f"{reported.tpr_undefended:.1f}", f"{first[0]:.1f}"],
        ["TPR, mean of six defences", f"{reported.tpr_six_defences:.1f}", f"{six:.1f}"],
        ["TNR, undefended", f"{reported.tnr_undefended:.1f}", f"{first[1]:.1f}"],
    ]
    return Made(
        paper=f"TPR falls by {reported.tpr_undefended:.1f} % for undefended",
        ours=f"by {first[0]:.1f} %",
        says=f"Diffence lowers the TPR at 0.1 % FPR of attackers with shadow models by {first[0]:.1f} % for undefended "
        f"and by {six:.1f} % on the mean of the six defences (paper: {reported.tpr_six_defences:.1f} %)",
        tables=[
            Table("The greatest of any attack by shadow models, per cent, all models in turn.", header, rows),
            Table("By how many per cent of their value rates fall.", ["rate", "paper", "here"], table),
        ],
        figures={"": charts.bars(DEFENSES, bars, marks={}, label="TPR at 0.1 % FPR, %")},
        notes=["16 shadow models or as many as there are (the paper: over 100), with 32 canaries that are left out."],
    )


def _fall(before: float, after: float) -> float:
    return 100 * (1 - after / before) if before else 0.0


ITEM = Item("Figure 7: few false positives, with shadow models", DEFENSES, make, shadows=stores)
