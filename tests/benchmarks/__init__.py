"""Speed, as ratios measured in one run: `make bench`, or `python -m tests.benchmarks NAME…` for some of it.

For comparison there is a plain procedure (plain.py) that works as the published code does, with the same weights.
"""
