"""A machine whose device has no float64, such as Apple's GPUs, stood for by the CPU."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class NoFloat64(TorchDispatchMode):
    """Within the block an operation that gives more than one number in float64 fails, as it does on such a device.

    Single numbers are let pass: torch makes them of Python's on the CPU.
    """

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for value in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(value, torch.Tensor) and value.dtype == torch.float64 and value.ndim > 0:
                raise TypeError(f"{function}: this device has no float64")
        return result
