"""Reports from fixed answers; the files beside this one are what they must stay.

After a change that is meant to change them: python -m tests.common.reports.golden
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from common.attacks.interface import Attack, Needs
from common.data.membership import Membership
from common.evaluation.judge import judge
from common.evaluation.protocols import PUBLISHED, Protocol
from common.evaluation.record import Privacy, Report
from common.evaluation.run import Circumstances, Evaluation, Settings, report
from common.runtime.subject import Subject
from tests.common.diffence.slow import diffence_config
from tests.common.evaluation.slow import CONFIG, ONCE, PARTITION, run

HERE = Path(__file__).parent
FILES = {False: HERE / "report.json", True: HERE / "report_w_diffence.json"}
TEXT = HERE / "report.txt"


@dataclass(frozen=True)
class Untrained(Protocol):
    """Without attacks that are trained, whose last digits differ from machine to machine."""

    @property
    def attacks(self) -> list[Attack]:
        chosen = [attack for attack in super().attacks if not attack.learns]
        return [*chosen, *([LACKING] if self.name == "held_out" else [])]


LACKING = Attack("lira", "this test", Needs(shadows=True), lambda *_: None, lambda *_: None)
ABOUT = Circumstances(
    dataset="digits",
    seed=3,
    privacy=Privacy(epsilon=3.5, delta=1e-5, noise_multiplier=1.25, max_grad_norm=1.0),
    membership=Membership(PARTITION.permutation, None, ["permutation: seed 0; none is published for digits"]),
    unchecked=[],
    inputs={"digits/data/partition.json": "0" * 64},
    seconds=1.5,
)
SETTINGS = Settings(
    Subject("resnet", "dpsgd"),
    diffence_config(),
    CONFIG,
)


@cache
def evaluated() -> Evaluation:
    pairs, counts = {}, {}
    for protocol in (ONCE, PUBLISHED):
        drawn = run(Untrained(**vars(protocol)))[0]
        pairs[protocol.name] = judge(drawn, CONFIG, seed=3)
        counts |= {name: role.counts for name, role in drawn.roles.items()}
    return Evaluation(pairs, counts)


def made() -> dict[bool, Report]:
    """The report of the classifier alone, and of the fenced one, without the versions of the packages."""
    reports = {fenced: report(evaluated(), SETTINGS, ABOUT, fenced=fenced) for fenced in (False, True)}
    return {fenced: each.model_copy(update={"versions": {}}) for fenced, each in reports.items()}
