"""The one place that knows about devices."""

import torch

from common.errors import UserError

CHOICES = ("auto", "cuda", "mps", "cpu")


def resolve(name: str) -> torch.device:
    """The device of that name; "auto" takes the best one. A device that is not there is an error, never the CPU."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there))
    if name not in available:
        raise UserError(f"unknown device {name!r}: choose from {', '.join(CHOICES)}")
    if not available[name]:
        raise UserError(f"--device {name}: this machine has no usable {name} device; use --device auto or cpu")
    return torch.device(name)
