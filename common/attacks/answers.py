"""What an attack gets to see."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Answers:
    """A classifier's answers to samples whose membership is known to the one who fits or judges an attack.

    logits:  float64 [n, K]
    labels:  int64 [n], the true labels
    member:  bool [n]

    Raises ValueError where shapes do not fit, logits are not finite, or one of the two kinds is missing.
    """

    logits: np.ndarray
    labels: np.ndarray
    member: np.ndarray

    def __post_init__(self) -> None:
        n, k = self.logits.shape
        if self.labels.shape != (n,) or self.member.shape != (n,) or self.member.dtype != bool:
            raise ValueError(f"answers {self.logits.shape}, labels {self.labels.shape}, member {self.member.shape}")
        if not np.isfinite(self.logits).all():
            raise ValueError("answers with NaN or infinite logits")
        if n and not (self.labels.min() >= 0 and self.labels.max() < k):
            raise ValueError(f"labels outside 0 … {k - 1}")
        if self.member.all() or not self.member.any():
            raise ValueError("an attack needs members and non-members")

    def __getitem__(self, chosen: np.ndarray) -> "Answers":
        return Answers(self.logits[chosen], self.labels[chosen], self.member[chosen])

    def joined(self, other: "Answers") -> "Answers":
        """These answers and after them the other ones."""
        pairs = ((self.logits, other.logits), (self.labels, other.labels), (self.member, other.member))
        return Answers(*(np.concatenate(pair) for pair in pairs))

    def __len__(self) -> int:
        return len(self.logits)

    @property
    def correct(self) -> np.ndarray:
        """bool [n]: the argmax is the true label."""
        return self.logits.argmax(axis=1) == self.labels
