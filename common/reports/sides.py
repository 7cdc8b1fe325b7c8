"""What a report compares: a classifier without a fence, and behind each fence that was evaluated."""

from typing import TypeVar

from common.evaluation.judge import Verdict
from common.evaluation.record import Report, UnderProtocol
from common.evaluation.run import Evaluation

ALONE = "without a fence"
FENCES = {"held_out": "paper's fence", "published": "paper's fence", "steady": "steady fence"}  # by protocol
Of = TypeVar("Of")


def verdicts(evaluation: Evaluation) -> dict[str, Verdict]:
    """By name: without a fence, with that of the main protocol, and with the steady one where it is another."""
    fenced = {name: pair.fenced for name, pair in evaluation.pairs.items()}
    return {ALONE: evaluation.main.without, **_fences(fenced, evaluation.main.protocol.name)}


def parts(without: Report, fenced: Report | None) -> dict[str, UnderProtocol]:
    """The same of the reports; of a classifier that has no fence there is one."""
    return {ALONE: without.protocols[without.main]} | ({} if fenced is None else _fences(fenced.protocols, fenced.main))


def _fences(found: dict[str, Of], main: str) -> dict[str, Of]:
    return {FENCES[name]: found[name] for name in dict.fromkeys((main, "steady")) if name in found}
