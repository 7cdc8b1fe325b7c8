"""What a tensor from outside must be to be computed with."""

import torch

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def is_dense(tensor: torch.Tensor) -> bool:
    """Whether each of its values is held in memory: it is not sparse, nested, quantised or of device "meta"."""
    return tensor.layout == torch.strided and not (tensor.is_meta or tensor.is_nested or tensor.is_quantized)


def kind(tensor: torch.Tensor) -> str:
    """Type and shape, and how its values are held where that is unusual."""
    held = "" if tensor.layout == torch.strided else f" {tensor.layout}"
    return f"{tensor.dtype}{held}{'' if tensor.is_nested else f' {tuple(tensor.shape)}'}{' (meta)' * tensor.is_meta}"


def look_like_probabilities(rows: torch.Tensor, dtype: torch.dtype) -> bool:
    """Whether no value is negative and every row [K] sums to 1, but for the rounding of the type they came in."""
    tolerance = min(0.05, 64 * torch.finfo(dtype).eps)
    return bool((rows >= 0).all() and ((rows.double().sum(dim=1) - 1).abs() <= tolerance).all())


def keeping_top(rounded: torch.Tensor, exact: torch.Tensor) -> torch.Tensor:
    """Rounded numbers [..., K] without ties that rounding made: the greatest ones are those of the exact ones."""
    below = rounded.amax(dim=-1, keepdim=True).nextafter(rounded.new_tensor(-torch.inf))
    return torch.where(exact < exact.amax(dim=-1, keepdim=True), rounded.minimum(below), rounded)
