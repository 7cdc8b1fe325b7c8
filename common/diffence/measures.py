"""What a fence can do against an attacker, each measure a switch, and the rule that they give for known samples.

``paper`` is the paper's procedure, ``published`` that of the authors' code, and ``steady`` what configs/diffence.yaml
says, chosen against attackers without shadow models (docs/differences.md); those who have some get more behind it than
behind the paper's (docs/results.md).
"""

from typing import Annotated, Any

from pydantic import Field

from common.diffence.averaging import Averaging
from common.diffence.door import MOST_CANDIDATES
from common.diffence.intervals import tune_interval
from common.diffence.labels import LabelAlone
from common.diffence.matching import Matching
from common.diffence.rule import EVERYWHERE, Candidates, Rule
from common.runtime.config import Batch, Positive, Strict
from common.runtime.modes import (
    Answering,
    Criterion,
    FenceName,
    Noise,
    Noising,
    Scenario,
    ScenarioSetting,
    Selection,
    Work,
)

SURE = 3.0  # phi of a top probability of 0.95

Count = Annotated[int, Field(gt=0, le=MOST_CANDIDATES)]


class Measures(Strict):
    """What a fence does against an attacker.

    criterion:  of an interval
    tolerance:  of matched answers, see matching.py
    """

    num_candidates: Count  # N, reconstructions of an image
    noise: Noise
    selection: Selection
    criterion: Criterion
    tolerance: Annotated[float, Field(ge=0, le=1)]
    work: Work
    answer: Answering


class Fence(Strict):
    """One fence, whole."""

    name: FenceName
    step: Positive
    scenario: ScenarioSetting
    noising: Noising
    group_size: Batch
    measures: Measures

    @property
    def reconstructs(self) -> dict[str, Any]:
        """All settings that its candidates depend on, but for their number."""
        return {**self.model_dump(include={"step", "noising", "group_size"}), "noise": self.measures.noise}

    def with_measures(self, **changes: Any) -> "Fence":
        return self.model_copy(update={"measures": self.measures.model_copy(update=changes)})


class DiffenceConfig(Strict):
    """configs/diffence.yaml"""

    num_candidates: Count  # N of the paper's fence
    step: Positive  # T of the paper: how far to noise
    scenario: ScenarioSetting  # what the defender knows: 1, members and non-members; 2, members; 3, neither
    noising: Noising  # see schedule.published_noise for what the published code does
    group_size: Batch  # samples purified and saved together
    fence: FenceName  # what fence() serves
    steady: Measures

    @property
    def most_candidates(self) -> int:
        """That any of the fences draws."""
        return max(self.num_candidates, self.steady.num_candidates)

    def of(self, name: FenceName) -> Fence:
        """One of the fences."""
        paper = Measures(
            num_candidates=self.num_candidates,
            noise="per_image",
            selection="interval",
            criterion="js",
            tolerance=self.steady.tolerance,  # no interval has one; changes of this fence may
            work="lazy",
            answer="select",
        )
        return Fence(
            name=name,
            step=self.step,
            scenario=self.scenario,
            noising="published" if name == "published" else self.noising,
            group_size=self.group_size,
            measures=self.steady if name == "steady" else paper,
        )


def tune(members: Candidates, non_members: Candidates, fence: Fence, *, published_search: bool = False) -> Rule:
    """The rule of a fence, from all candidates of known members and non-members.

    published_search:  an interval is searched as by the published code, which the published fence does anyway

    Raises UserError and ValueError as ``tune_interval`` does.
    """
    measures = fence.measures
    if measures.answer == "average":
        return Averaging()
    if measures.answer == "label":
        return label_alone(members, non_members, scenario=fence.scenario)
    if measures.selection == "interval":
        return tune_interval(
            members,
            non_members,
            scenario=fence.scenario,
            criterion=measures.criterion,
            only_reconstructions=published_search or fence.name == "published",
        )
    exact = measures.selection == "exact"
    return match(members, non_members, scenario=fence.scenario, tolerance=measures.tolerance, exact=exact)


def label_alone(members: Candidates, non_members: Candidates, *, scenario: Scenario) -> LabelAlone:
    """The median phi of the known non-members' candidates, in scenario 2 of the members'; in scenario 3 ``SURE``."""
    known = members if scenario == "members_only" else non_members
    return LabelAlone(SURE if scenario == "neither" else float(known.phi[known.keeps].median()))


def match(
    members: Candidates, non_members: Candidates, *, scenario: Scenario, tolerance: float, exact: bool = False
) -> Rule:
    """Answers like the known non-members' label-preserving reconstructions; in scenario 2 like the members'.

    In scenario 3 there is nothing to match, and the first candidate that keeps the label answers.
    """
    if scenario == "neither":
        return EVERYWHERE
    known = members if scenario == "members_only" else non_members
    phi = known.phi[:, :-1][known.keeps[:, :-1]]
    if len(phi) == 0:
        return EVERYWHERE
    return Matching(phi.sort().values, tolerance, exact)
