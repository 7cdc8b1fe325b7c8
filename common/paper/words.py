"""What pages of the paper's items say in the same words."""

import math
from collections.abc import Collection, Mapping, Sequence

from common.evaluation.record import UnderProtocol
from common.paper.bench import AS_PUBLISHED, HELD, THRESHOLDS, Bench, mean

AVERAGED = "CIFAR-10, CIFAR-100 and SVHN, averaged"
NOT_KNOWN = "a dataset that is not recorded here"
NAMES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "svhn": "SVHN"}
NAMES |= {"selena": "SELENA", "advreg": "AdvReg", "hamp": "HAMP", "relaxloss": "RelaxLoss", "dpsgd": "DP-SGD"}
NAMES |= {"memguard": "MemGuard"}
"""Of datasets and defences, as sentences write them."""
HELD_OUT = "every choice but that of the best attack kept away from the samples that are scored"
JUDGED = {
    AS_PUBLISHED: "Attacks are judged as the paper's code judges them: thresholds in hindsight, the interval tuned on "
    "scored samples. The fence noises as DDPM does, which that code does not (docs/differences.md).",
    HELD: f"Attacks are judged with {HELD_OUT}.",
    THRESHOLDS: f"Four attacks that compare with a threshold, the NN attack left out, are judged with {HELD_OUT}.",
}
RECIPES = (
    "Defences are trained as common/configs/ and the dataset's configs/ say: HAMP with its test-time step (the paper: "
    "without), DP-SGD's noise for an epsilon (the paper: noise 0.1 or 0.05), AdvReg's alpha 4 (the paper: 6), MemGuard "
    "with a distortion budget; checkpoints are chosen on reference images."
)
ALIKE = 5.0  # points: AUCs that differ by less are alike, of some hundred samples
CLEAR = 0.5  # a rank correlation above it in size is called one, and one below it weak


def members(bench: Bench) -> str:
    """How many members a dataset has; all that is said where no attack is judged."""
    of = len(bench.experiment.partition.members)
    return f"{bench.name} has {of:,} members (the paper: 25,000 of CIFAR, 5,000 of SVHN and UTKFace, 10,000 of CelebA)."


def final_test(bench: Bench) -> tuple[int, int]:
    """How many members and non-members it has."""
    role = bench.experiment.partition.roles(bench.experiment.evaluation_config.num_sample)[HELD.test]
    return len(role.members), len(role.non_members)


def counts(of_members: int, of_others: int, *, called: str = "of them") -> str:
    return f"{of_members:,} {called} and {of_others:,} non-members"


def shown(bench: Bench) -> str:
    return f"{members(bench)} What is shown is of {counts(*final_test(bench))}."


def scored(bench: Bench) -> str:
    """Where attacks are judged on the final test alone."""
    return f"{members(bench)} Attacks are scored on {counts(*final_test(bench))} (the paper: 2,000 and 2,000)."


def scored_as_published(bench: Bench) -> str:
    """Where thresholds are scored on the samples too that the interval is tuned on."""
    roles = bench.experiment.partition.published_roles(bench.experiment.evaluation_config.num_sample)
    of, (known, others) = (
        (len(roles[name].members), len(roles[name].non_members)) for name in (AS_PUBLISHED.test, AS_PUBLISHED.tuning)
    )
    return (
        f"{members(bench)} Attacks are scored on {counts(*of)}. As the paper's code judges, thresholds are also "
        f"scored on the {known:,} and {others:,} that tune the interval (the paper: 2,000 and 2,000 in all)."
    )


def fence(benches: Sequence[Bench]) -> str:
    """N and T of the datasets' own fences."""
    configs = [bench.experiment.fence_config for bench in benches]
    found = dict.fromkeys(f"N = {config.num_candidates}, T = {config.step}" for config in configs)
    return f"{' and '.join(found)} (the paper: N = 30, T = 160)."


def half_width(ends: Collection[Sequence[float] | None]) -> float | None:
    """How many points 95 % intervals of AUCs reach to each side, in the mean; None where none is known."""
    known = [each for each in ends if each is not None]
    return 50 * mean([high - low for low, high in known]) if known else None


def of_best(parts: Sequence[UnderProtocol]) -> list[Sequence[float] | None]:
    """The best attacks' intervals."""
    return [part.best.auc_ci for part in parts]


def means(by_defense: Mapping[str, float]) -> tuple[float, float]:
    """Over all defences, and over all but HAMP, whose test-time step moves it much, and the paper has it off."""
    return mean([*by_defense.values()]), mean([value for name, value in by_defense.items() if name != "hamp"])


def listed(names: Sequence[str]) -> str:
    """``a, b and c``, as sentences write them."""
    shown_names = [NAMES.get(name, name) for name in names]
    return " and ".join([", ".join(shown_names[:-1]), shown_names[-1]] if len(shown_names) > 1 else shown_names)


def share(before: float, after: float) -> float:
    """By how many per cent of its value something falls, less than 0 where it rises; NaN where it was 0."""
    return 100 * (1 - after / before) if before else math.nan


def falls_and(by: float, without_hamp: float) -> str:
    """Of the mean over all defences and of that over all but HAMP."""
    return f"{falls(by)} ({falls(without_hamp)} without HAMP)"


def falls(by: float) -> str:
    """In words, by per cent of its value.

    >>> falls(3.04), falls(-3.04)
    ('falls by 3.0 %', 'rises by 3.0 %')
    """
    if math.isnan(by):
        return "was 0, so that no share of it can fall"
    return f"{'falls' if by >= 0 else 'rises'} by {abs(by):.1f} %"
