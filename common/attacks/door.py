"""What enters the attacks: answers, labels and membership. Each is taken as it should be, or refused by name."""

from typing import Any

import numpy as np


def answers_in(given: Any, *, name: str, shape: str) -> np.ndarray:
    """Logits of any floating type as float64, in the dimensions that ``shape`` names, such as "[n, Q, K]".

    Raises ValueError where they are of another type or shape, or not finite.
    """
    array = _array(given, name)
    if not np.issubdtype(array.dtype, np.floating) or array.ndim != shape.count(",") + 1:
        raise ValueError(f"{name}: expected floating logits {shape}, found {array.dtype} {array.shape}")
    with np.errstate(over="ignore"):
        array = array.astype(np.float64, copy=False)
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: NaN or infinite logits")
    if array.shape[-1] < 2:
        raise ValueError(f"{name}: logits of {array.shape[-1]} class: an attack needs at least 2")
    return array


def labels_in(given: Any, *, count: int, num_classes: int) -> np.ndarray:
    """True labels of any integer type, or floats that are whole, as int64 [count].

    Raises ValueError where they are no such labels, or outside 0 … num_classes - 1.
    """
    array = _array(given, "labels")
    kinds = (np.integer, np.floating)
    if array.shape != (count,) or not any(np.issubdtype(array.dtype, kind) for kind in kinds):
        raise ValueError(f"labels: expected whole numbers [{count}], found {array.dtype} {array.shape}")
    if not (np.isfinite(array).all() and (array == np.floor(array)).all()):
        raise ValueError("labels: expected whole numbers, found fractions, NaN or infinities")
    if count and not (float(array.min()) >= 0 and float(array.max()) < num_classes):
        raise ValueError(f"labels outside 0 … {num_classes - 1}")
    return array.astype(np.int64)


def members_in(given: Any, *, shape: tuple[int, ...], name: str = "member") -> np.ndarray:
    """Membership as bool, or as 0 and 1 of any type. Raises ValueError where it is anything else."""
    array = _array(given, name)
    if array.shape != shape or not (array.dtype == bool or np.issubdtype(array.dtype, np.number)):
        raise ValueError(f"{name}: expected bool {list(shape)}, found {array.dtype} {array.shape}")
    if not ((array == 0) | (array == 1)).all():
        raise ValueError(f"{name}: expected bool, or 0 and 1, found other numbers")
    return array.astype(bool)


def numbers_in(given: Any, *, name: str, shape: tuple[int, ...], holes: bool = False) -> np.ndarray:
    """Finite real numbers of any type as float64, NaN where ``holes`` may be. Raises ValueError for anything else."""
    array = _array(given, name)
    if array.shape != shape or not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
        raise ValueError(f"{name}: expected numbers {list(shape)}, found {array.dtype} {array.shape}")
    if not (np.isfinite(array) | (holes & np.isnan(array))).all():
        raise ValueError(f"{name}: NaN or infinite numbers")
    return array.astype(np.float64)


def _array(given: Any, name: str) -> np.ndarray:
    try:
        return np.asarray(given)
    except (ValueError, TypeError, RuntimeError) as error:  # rows of unequal length, a tensor that needs a gradient
        raise ValueError(f"{name}: no array: {error}") from error
