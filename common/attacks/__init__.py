"""Membership inference attacks: arrays in, arrays out.

Reading order: answers, scores, threshold, neural, suite, metrics.

Everywhere a higher score means more likely a member.
"""
