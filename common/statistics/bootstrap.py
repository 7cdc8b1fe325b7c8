"""Bootstrap resamples of a test set and what they give: scores float64 [n] (higher = member), member bool [n].

Degenerate input (one kind missing, NaN, infinity) raises ValueError.
"""

from dataclasses import dataclass

import numpy as np

from common.runtime import rng
from common.statistics.roc import check


@dataclass(frozen=True)
class Bootstrap:
    """Resamplings of one test set, members and non-members apart; shared by all attacks, so differences are paired.

    member_counts:      float64 [B, members], how often each member is drawn in each resample
    non_member_counts:  float64 [B, non-members]
    """

    member_counts: np.ndarray
    non_member_counts: np.ndarray

    @classmethod
    def draw(cls, member: np.ndarray, *, resamples: int, seed: int, name: tuple[str, ...] = ()) -> "Bootstrap":
        """Resamples named by (seed, *name)."""
        generator = rng.numpy_generator(seed, "bootstrap", *name)
        sizes = [int(member.sum()), int((~member).sum())]
        return cls(*(generator.multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64) for n in sizes))

    @classmethod
    def once(cls, member: np.ndarray) -> "Bootstrap":
        """The test set itself, as the only resample."""
        return cls(np.ones((1, int(member.sum()))), np.ones((1, int((~member).sum()))))

    def joined(self, other: "Bootstrap") -> "Bootstrap":
        """Resamples of both test sets together, each resampled within itself: the other's samples come after."""
        return Bootstrap(
            np.hstack([self.member_counts, other.member_counts]),
            np.hstack([self.non_member_counts, other.non_member_counts]),
        )

    def among(self, chosen: np.ndarray, member: np.ndarray) -> "Bootstrap":
        """The same resamples of the ``chosen`` samples alone, bool [n] as ``member`` is.

        A resample draws more of them or fewer; its counts are scaled, so that they add up to those that are chosen.
        """
        parts = []
        for counts, there in ((self.member_counts, chosen[member]), (self.non_member_counts, chosen[~member])):
            drawn = counts[:, there]
            total = drawn.sum(axis=1, keepdims=True)  # 0 where none of them was drawn: then they are taken as they are
            parts.append(np.where(total > 0, drawn * there.sum() / np.maximum(total, 1), 1.0))
        return Bootstrap(*parts)

    @property
    def turned(self) -> "Bootstrap":
        """The same resamples, members and non-members changed over."""
        return Bootstrap(self.non_member_counts, self.member_counts)

    def non_member_means(self, values: np.ndarray) -> np.ndarray:
        """Their mean over the non-members of every resample: values float64 [non-members] -> float64 [B]."""
        return self.non_member_counts @ values / self.non_member_counts.shape[1]

    def aucs(self, scores: np.ndarray, member: np.ndarray) -> np.ndarray:
        """The AUC of every resample, float64 [B], by counting the pairs that each member wins."""
        check(scores, member)
        ours, theirs = scores[member], scores[~member]
        order = np.argsort(theirs)
        lower = _running_total(self.non_member_counts[:, order])  # [non-members + 1, B]
        below = lower[np.searchsorted(theirs[order], ours, side="left")]  # [members, B]
        up_to = lower[np.searchsorted(theirs[order], ours, side="right")]
        pairs = self.member_counts.shape[1] * self.non_member_counts.shape[1]
        aucs = np.einsum("nb,bn->b", below + up_to, self.member_counts) / (2 * pairs)
        return aucs.clip(0, 1)  # scaled counts may add up to a rounding more

    def accuracies(self, scores: np.ndarray, member: np.ndarray, threshold: float) -> np.ndarray:
        """The balanced accuracy of one threshold in every resample, float64 [B]."""
        check(scores, member)
        guess = scores >= threshold
        tpr = self.member_counts @ guess[member] / self.member_counts.shape[1]
        fpr = self.non_member_counts @ guess[~member] / self.non_member_counts.shape[1]
        return ((tpr + 1 - fpr) / 2).clip(0, 1)

    def hindsight_accuracies(self, scores: np.ndarray, member: np.ndarray) -> np.ndarray:
        """The greatest balanced accuracy of any threshold in every resample, float64 [B], each with its own best."""
        check(scores, member)
        cuts = np.unique(scores)[::-1]
        tpr, fpr = (
            _share_at_or_above(scores[kind], counts, cuts)
            for kind, counts in ((member, self.member_counts), (~member, self.non_member_counts))
        )
        return (1 + (tpr - fpr).max(axis=1)) / 2

    def tprs(self, scores: np.ndarray, member: np.ndarray, fprs: np.ndarray) -> np.ndarray:
        """TPR at each FPR of a grid [F], by the step-wise ROC curve of every resample: float64 [B, F]."""
        check(scores, member)
        (ours, hits), (theirs, mistakes) = (
            _falling(scores[kind], counts)
            for kind, counts in ((member, self.member_counts), (~member, self.non_member_counts))
        )
        too_many = np.stack([np.searchsorted(row, fprs, side="right") for row in mistakes[:, 1:]])  # [B, F]
        thresholds = np.append(theirs, -np.inf)[too_many]  # which scores have to exceed
        return np.take_along_axis(hits, np.searchsorted(-ours, -thresholds, side="left"), axis=1)


def _running_total(counts: np.ndarray) -> np.ndarray:
    """How many are among the first 0, 1, … n: counts [B, n] -> [n + 1, B], so that rows can be taken at once."""
    total = np.zeros((counts.shape[1] + 1, len(counts)))
    np.cumsum(counts.T, axis=0, out=total[1:])
    return total


def _share_at_or_above(scores: np.ndarray, counts: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """Weighted share of scores >= each cut (falling): counts [B, n] -> [B, len(cuts)]."""
    falling, share = _falling(scores, counts)
    return share[:, np.searchsorted(-falling, -cuts, side="right")]


def _falling(scores: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores [n] from the greatest on, and the weighted share of the first 0, 1, … n of them, [B, n + 1]."""
    order = np.argsort(-scores, kind="stable")
    total = np.pad(np.cumsum(counts[:, order], axis=1), ((0, 0), (1, 0)))
    return scores[order], total / counts.sum(axis=1, keepdims=True)


def interval95(values: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of bootstrap values."""
    lo, hi = np.quantile(values, [0.025, 0.975])
    return float(lo), float(hi)
