"""Hypothesis: the same examples in every run, no time limit on a single one, nothing left on disk."""

from hypothesis import settings

settings.register_profile("repeatable", max_examples=60, deadline=None, derandomize=True, database=None)
settings.load_profile("repeatable")
