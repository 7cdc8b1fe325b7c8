"""Diffence (Peng, Naseh, Houmansadr, NDSS 2025): answer with a reconstruction that does not betray membership.

Here are the paper's rule, the search of its interval, and the fence that anyone can put round a classifier of images in
[0, 1]. Nothing here reads a file or knows a dataset. Reading order: rule, intervals, candidates, fence.
"""

from common.diffence.fence import Diffence
from common.diffence.intervals import tune_interval
from common.diffence.rule import EVERYWHERE, Candidates, Interval, phi, select, take

__all__ = ["EVERYWHERE", "Candidates", "Diffence", "Interval", "phi", "select", "take", "tune_interval"]
