"""The diffusion model: schedule, DDIM step, denoiser and training. Images are in [-1, 1] here and nowhere else.

Nothing here knows about classifiers or membership.
"""
