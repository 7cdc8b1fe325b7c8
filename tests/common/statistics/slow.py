"""Scores with ties, and AUC and ROC curve counted one by one."""

import numpy as np
from hypothesis import strategies as st


@st.composite
def scored(draw):
    """Scores with many ties, and who is a member; at least one of each kind."""
    kinds = st.lists(st.integers(-4, 4), min_size=1, max_size=12)
    ours, theirs = draw(kinds), draw(kinds)
    order = draw(st.permutations(range(len(ours) + len(theirs))))
    scores = np.array(ours + theirs, dtype=np.float64)[order] / 3
    return scores, (np.arange(len(scores)) < len(ours))[order]


def pairwise_auc(ours, theirs):
    return sum((a > b) + 0.5 * (a == b) for a in ours for b in theirs) / (len(ours) * len(theirs))


def operating_points(ours, theirs):
    """(threshold, FPR, TPR) of "member if score >= threshold", for every threshold that makes a difference."""
    cuts = [*sorted({*ours, *theirs}), np.inf]
    return [(t, np.mean([s >= t for s in theirs]), np.mean([s >= t for s in ours])) for t in cuts]
