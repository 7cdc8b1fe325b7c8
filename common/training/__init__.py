"""The one training loop, what a training leaves behind, and the plain classifier recipe that defences vary.

Everything is resumable: a run that was stopped and started again ends with the bytes of an uninterrupted one.
"""
