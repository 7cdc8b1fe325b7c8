"""Figure 8: CelebA and UTKFace, larger pictures, behind a diffusion model of other data, dataset by dataset.

`python -m common.new_dataset` makes their folders, as docs/extending.md shows.
"""

from collections.abc import Sequence

from common.paper import words
from common.paper.bench import Bench
from common.paper.figure13 import FULL_RESOLUTION, HEADER, cases, diffusion, lacks, measured, notes
from common.paper.interface import Item, Made, Table
from common.paper.table3 import DEFENSES
from common.reports.paper import Paper

NOTHING = "-"


def make(benches: Sequence[Bench], paper: Paper) -> Made:
    falls = {bench.name: measured([bench]) for bench in benches}
    rows = []
    for name, (aucs, accuracy, _) in falls.items():
        reported = paper.figure8.get(name)
        theirs = [NOTHING, NOTHING] if reported is None else [f"{reported.auc:.1f}", f"{reported.accuracy:.1f}"]
        rows.append([name, theirs[0], f"{aucs[0]:.1f}", theirs[1], f"{accuracy:.1f}"])
    header = ["dataset", "AUC falls by: paper, %", "here", "accuracy falls by: paper, %", "here"]
    theirs_of_both = ", ".join(f"{words.falls(paper.figure8[name].auc)} ({name})" for name in FULL_RESOLUTION)
    ours = ", ".join(f"{words.falls_and(*found.aucs)} on {name}" for name, found in falls.items())
    others = [name for name in falls if name not in FULL_RESOLUTION]
    stands_in = [
        f"{name} stands in the place of CelebA and UTKFace; its pictures are no larger than elsewhere. "
        "So this is the same measurement as figure 13's."
        for name in others
    ]
    return Made(
        paper=f"AUC {theirs_of_both}",
        ours=f"AUC {ours}",
        says=f"behind a diffusion model of other data the best attack's AUC {ours}, mean over the defences; "
        "HAMP's test-time step is on here and off in the paper",
        tables=[
            Table("By how many per cent of its value the best attack falls, mean over the defences.", header, rows),
            *(
                Table(f"{name}: AUC / accuracy of the best attack, per cent.", HEADER, found.rows)
                for name, found in falls.items()
            ),
        ],
        notes=[*stands_in, *notes(benches)],
    )


ITEM = Item(
    "Figure 8: larger pictures behind a diffusion model of other data",
    DEFENSES,
    make,
    of="CelebA and UTKFace",
    diffusion=diffusion,
    cases=cases,
    lacks=lacks,
    counts=words.scored_as_published,
)
