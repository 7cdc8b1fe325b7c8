"""What pages of the paper's items say in the same words."""

import math

from common.paper.bench import AS_PUBLISHED, HELD, THRESHOLDS, Bench

AVERAGED = "CIFAR-10, CIFAR-100 and SVHN, averaged"
NOT_KNOWN = "a dataset that is not recorded here"
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


def sizes(bench: Bench) -> str:
    """How many samples a dataset has."""
    partition, most = bench.experiment.partition, bench.experiment.evaluation_config.num_sample
    of, role = len(partition.members), partition.roles(most)[HELD.test]
    return (
        f"{bench.name} has {of} members (the paper: 25,000 of CIFAR, 5,000 of SVHN and UTKFace, 10,000 of CelebA). "
        f"Attacks are scored on {len(role.members)} of them and {len(role.non_members)} others; as the paper's code "
        "judges, thresholds also on those that tune the interval (the paper: 2,000 and 2,000)."
    )


def share(before: float, after: float) -> float:
    """By how many per cent of its value something falls, less than 0 where it rises; NaN where it was 0."""
    return 100 * (1 - after / before) if before else math.nan


def falls(by: float) -> str:
    """In words, by per cent of its value.

    >>> falls(3.04), falls(-3.04)
    ('falls by 3.0 %', 'rises by 3.0 %')
    """
    if math.isnan(by):
        return "was 0, so that no share of it can fall"
    return f"{'falls' if by >= 0 else 'rises'} by {abs(by):.1f} %"
