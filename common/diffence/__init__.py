"""Diffence (Peng, Naseh, Houmansadr, NDSS 2025): answer with a reconstruction that does not betray membership.

Here are the paper's rule, the search of its interval, and the fence that anyone can put round a classifier of images in
[0, 1]; and other rules and measures against attackers who know it. Nothing here knows a dataset; saving.py alone reads
and writes files.
Reading order: rule, intervals, candidates, fence; then matching, averaging, measures.
"""

from common.diffence.averaging import Averaging
from common.diffence.fence import Diffence
from common.diffence.intervals import tune_interval
from common.diffence.matching import Matching
from common.diffence.measures import match, tune
from common.diffence.rule import EVERYWHERE, Candidates, Interval, Rule, answer, phi

__all__ = [
    "EVERYWHERE",
    "Averaging",
    "Candidates",
    "Diffence",
    "Interval",
    "Matching",
    "Rule",
    "answer",
    "match",
    "phi",
    "tune",
    "tune_interval",
]
