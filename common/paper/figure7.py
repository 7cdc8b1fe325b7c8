"""Figure 7: TPR at few false positives and TNR at few false negatives, by attacks that train shadow models."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from common.attacks import SHADOW_ATTACKS
from common.evaluation.shadow_record import UnderFence
from common.experiment import shadow_audit
from common.experiment.shadow_store import Store
from common.paper import words
from common.paper.bench import HELD, Bench, mean
from common.paper.interface import Item, Made, Table
from common.paper.table3 import DEFENSES
from common.reports import charts
from common.reports.paper import Paper
from common.runtime.subject import Subject

COUNT, CANARIES = 16, 32  # as `make shadows` has them, so that its stores serve
RATE = "0.001"
DECIMALS = 1  # of a rate, per cent
ONCE = [name for name, attack in SHADOW_ATTACKS.items() if attack.needs.only_images]
NOTHING = "-"
HEADER = ["defence", "TPR at 0.1 % FPR, alone", "with Diffence", "TNR at 0.1 % FNR, alone", "with Diffence"]
KINDS = (shadow_audit.NO_FENCE, "paper")


def stores(bench: Bench) -> list[tuple[Store, int]]:
    """Of each defence, in scenario 3."""
    own = bench.experiment
    scenario = {"diffence": {**own.overrides.get("diffence", {}), "scenario": 3}}
    changed = replace(own, overrides={**own.overrides, **scenario})
    return [(Store.of(changed, Subject(defense=name), canaries=CANARIES), COUNT) for name in DEFENSES]


def _rates(found: UnderFence, names: Collection[str]) -> tuple[float, float]:
    """The greatest TPR and TNR of any of these attacks, per cent, canaries left out."""
    rows = [row.models for name, row in found.attacks.items() if name in names]
    tpr, tnr = max(row.tpr_at_fpr[RATE].value for row in rows), max(row.tnr_at_fnr[RATE].value for row in rows)
    return 100 * tpr, 100 * tnr


def make(benches: Sequence[Bench], paper: Paper) -> Made:
    audited = {bench.name: {store.subject.defense: store for store, _ in stores(bench)} for bench in benches}
    found = {name: [shadow_audit.under_fences(of[name], KINDS) for of in audited.values()] for name in DEFENSES}
    once, more = ({name: _sides(of, names) for name, of in found.items()} for names in (ONCE, list(SHADOW_ATTACKS)))
    falls, by_any = _falls(once), _falls(more)
    tpr, tnr = falls["undefended"]
    (six_tpr, left_out), (six_tnr, also_left_out) = (_mean_of_six(falls, place) for place in (0, 1))
    six_by_any, _ = _mean_of_six(by_any, 0)
    trained = sorted({len(store.there()) - 1 for of in audited.values() for store in of.values()})
    reported = paper.figure7
    table = [
        ["TPR, undefended", f"{reported.tpr_undefended:.1f}", f"{tpr:.1f}"],
        [f"TPR, mean of six defences{left_out}", f"{reported.tpr_six_defences:.1f}", f"{six_tpr:.1f}"],
        ["TNR, undefended", f"{reported.tnr_undefended:.1f}", f"{tnr:.1f}"],
        [f"TNR, mean of six defences{also_left_out}", NOTHING, f"{six_tnr:.1f}"],
    ]
    bars = {side: [once[name][place][0] for name in DEFENSES] for place, side in enumerate(("alone", "with Diffence"))}
    return Made(
        paper=f"TPR {words.falls(reported.tpr_undefended)} for undefended",
        ours=f"TPR {words.falls(tpr)}",
        says=f"the TPR at 0.1 % FPR of attackers with shadow models who ask once {words.falls(tpr)} for undefended, "
        f"and {words.falls(six_tpr)} on the mean of the six defences (paper: "
        f"{words.falls(reported.tpr_six_defences)}){_rising(once)}. Where sixteen queries are asked too, it "
        f"{words.falls(by_any['undefended'][0])} for undefended, and {words.falls(six_by_any)} on the mean"
        f"{_rising(more)}",
        tables=[
            Table("The greatest of any attack that asks once, per cent, all models in turn.", HEADER, _rows(once)),
            Table("By how many per cent of their value these rates fall.", ["rate", "paper", "here"], table),
            Table(
                "The greatest of any attack, those that ask sixteen times among them, per cent.", HEADER, _rows(more)
            ),
        ],
        figures={"": charts.bars(DEFENSES, bars, marks={}, label="TPR at 0.1 % FPR, %")},
        notes=[
            f"{' or '.join(map(str, trained))} shadow models (the paper: over 100), scenario 3.",
            f"Attacks that ask once: {', '.join(ONCE)}. The paper has LiRA and five that train no shadow models.",
            f"{CANARIES} images have a wrong label in half of the models, the target among them; no rate counts them.",
            "AdvReg and MemGuard learn from test images in place of reference images, which are scored here.",
            words.RECIPES,
        ],
    )


def counts(bench: Bench) -> str:
    """How many samples the rates are of."""
    store, _ = stores(bench)[0]
    scored = len(store.pool.roles[HELD.test])
    return (
        f"{words.members(bench)} In each model attacks are scored on the same {scored:,} members and other training "
        "samples, about half of them its own members; the images with a wrong label are not among them."
    )


def _falls(rates: Mapping[str, Sequence[Sequence[float]]]) -> dict[str, list[float]]:
    """By how many per cent TPR and TNR fall, by defence."""
    return {name: [words.share(*pair) for pair in zip(*sides, strict=True)] for name, sides in rates.items()}


def _rising(rates: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """Which rates rise behind the fence as they are shown, and for which classifiers.

    rates:  [TPR, TNR] alone and [TPR, TNR] behind the fence, per cent, by defence (see ``_sides``)
    """
    found = []
    for place, rate in enumerate(("TPR", "TNR at 0.1 % FNR")):
        shown = {name: [round(side[place], DECIMALS) for side in sides] for name, sides in rates.items()}
        names = [name for name, (alone, fenced) in shown.items() if fenced > alone]
        if names:
            found.append(f"the {rate} rises for {words.listed(names)}")
    return ", but " + " and ".join(found) if found else ""


def _sides(found: Sequence[Mapping[str, UnderFence]], names: Collection[str]) -> list[list[float]]:
    """TPR and TNR alone, and behind the fence, averaged over datasets."""
    return [[mean(values) for values in zip(*(_rates(of[kind], names) for of in found), strict=True)] for kind in KINDS]


def _rows(rates: Mapping[str, Sequence[Sequence[float]]]) -> list[list[str]]:
    return [
        [name, *(f"{value:.{DECIMALS}f}" for value in (tpr, fenced_tpr, tnr, fenced_tnr))]
        for name, ((tpr, tnr), (fenced_tpr, fenced_tnr)) in rates.items()
    ]


def _mean_of_six(falls: Mapping[str, Sequence[float]], place: int) -> tuple[float, str]:
    """Over all defences but undefended whose rate was not 0; and what is said where some were."""
    known = [of[place] for name, of in falls.items() if name != "undefended" and not math.isnan(of[place])]
    left_out = len(falls) - 1 - len(known)
    said = f" ({left_out} left out, whose rate was 0)" if left_out else ""
    return (mean(known) if known else math.nan), said


ITEM = Item(
    "Figure 7: few false positives, with shadow models", DEFENSES, make, of="SVHN", shadows=stores, counts=counts
)
