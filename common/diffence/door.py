"""What enters the fence: images, and a classifier's answers. Both are taken as they should be, or refused by name.

Whatever mode the networks were left in, answers are those of evaluation mode.
"""

from collections.abc import Sequence
from typing import Any, get_args

import torch
from torch import nn

from common.runtime import tensors
from common.runtime.errors import UserError
from common.runtime.modes import Answers

KEY_BYTES = 16  # at least, of a secret key
MOST_CANDIDATES = 10_000


class Refused(UserError):
    """Images or answers that the fence does not take; a ValueError."""


def check_modes(**modes: tuple[Any, Any]) -> None:
    """Raise ValueError naming the mode that is none of its kind, each being (value, Literal of the allowed ones)."""
    for name, (mode, kind) in modes.items():
        if mode not in get_args(kind):
            raise ValueError(f"{name} must be one of {', '.join(get_args(kind))}, not {mode!r}")


def check_numbers(*, step: Any, num_candidates: Any, batch_size: int | None, key: Any) -> None:
    """Raise ValueError naming the number of a fence that is none."""
    for name, value in (("step", step), ("num_candidates", num_candidates)):
        if type(value) is not int:
            raise ValueError(f"{name} must be a whole number, not {value!r}")
    if not (0 <= key < 2**63 if type(key) is int else type(key) is bytes and len(key) >= KEY_BYTES):
        raise ValueError(f"key must be a seed, 0 … 2^63 - 1, or at least {KEY_BYTES} secret bytes")
    if not 1 <= num_candidates <= MOST_CANDIDATES or (batch_size is not None and batch_size < 1):
        raise ValueError(
            f"num_candidates ({num_candidates}) and batch_size ({batch_size}) must be positive, and the first "
            f"at most {MOST_CANDIDATES}"
        )


def images_in(x: Any, *, classifier: Any, shape: tuple[int, ...] | None) -> torch.Tensor:
    """Images [B, C, H, W] in [0, 1] of any floating type, in the classifier's if that is float64, else in float32.

    shape:  [C, H, W] of the diffusion model's images, where it is known

    Raises Refused saying what was found instead.
    """
    if not isinstance(x, torch.Tensor) or not _is_floating(x) or x.ndim != 4 or len(x) == 0:
        found = tensors.kind(x) if isinstance(x, torch.Tensor) else type(x).__name__
        raise Refused(f"expected float images [B, C, H, W] with B >= 1, found {found}")
    if shape is not None and tuple(x.shape[1:]) != tuple(shape):
        raise Refused(f"the diffusion model is for images {list(shape)}, found images {list(x.shape[1:])}")
    if not (x.min() >= 0 and x.max() <= 1):  # written so that NaN fails too
        raise Refused("expected images in [0, 1], without normalisation: that is the classifier's first layer")
    return x.to(torch.float64 if type_of(classifier) == torch.float64 else torch.float32)


def evaluating(module: nn.Module) -> None:
    """Put a module into evaluation mode; where it is in it, looking takes a fraction of the time of setting it anew."""
    if any(each.training for each in module.modules()):
        module.eval()


def type_of(classifier: Any) -> torch.dtype | None:
    """The floating type of a module's weights; None where there are none."""
    weights = classifier.parameters() if isinstance(classifier, nn.Module) else ()
    return next((weight.dtype for weight in weights if weight.is_floating_point()), None)


def logits_of(answer: Any, *, count: int, answers: Answers, first: bool) -> torch.Tensor:
    """A classifier's answer to ``count`` images as logits [count, K], K >= 2, on the CPU, in float32 at least.

    answers:  what the classifier is said to answer; of probabilities the logarithm is taken
    first:    the classifier has answered nothing else so far, so logits that look like probabilities are refused

    Raises Refused saying what was found instead, and what to do.
    """
    if not isinstance(answer, torch.Tensor):
        raise Refused(
            f"the classifier answered a {type(answer).__name__}, expected a tensor of logits [{count}, K]: wrap it in "
            "a function that takes the logits out, such as lambda x: model(x)[0] or lambda x: model(x).logits"
        )
    if not _is_floating(answer):
        raise Refused(f"the classifier answered {tensors.kind(answer)}, expected floating logits [{count}, K]")
    if answer.ndim != 2 or len(answer) != count or answer.shape[1] < 2:
        raise Refused(
            f"the classifier answered {tuple(answer.shape)}, expected logits [{count}, K] with K at least 2; a single "
            "logit z of two classes is torch.cat([torch.zeros_like(z), z], dim=1)"
        )
    logits = answer.cpu()
    logits = logits.float() if logits.dtype.itemsize < 4 else logits  # half precision has no business in phi
    if not torch.isfinite(logits).all():
        raise Refused("the classifier answered NaN or infinite logits: there is no label to keep")
    if answers == "probabilities":
        if not tensors.look_like_probabilities(logits, answer.dtype):
            raise Refused('answers="probabilities", but a row of the answer does not sum to 1 or is negative')
        return tensors.keeping_top(logits.clamp(min=torch.finfo(logits.dtype).tiny).log(), logits)
    if first and tensors.look_like_probabilities(logits, answer.dtype):
        raise Refused(
            "the classifier answered probabilities (every row sums to 1 and none is negative), expected logits: leave "
            'the softmax away, or say answers="probabilities"'
        )
    return logits


def ask(classifier: Any, passes: Sequence[torch.Tensor], *, answers: Answers, first: bool) -> torch.Tensor:
    """Logits [n, K] of images in one pass or several, those of each pass with the bits that they have alone."""
    own = type_of(classifier)
    given = [part if own is None else part.to(own) for part in passes]
    counts = [len(part) for part in given]
    if len(given) > 1 and hasattr(classifier, "of_passes"):  # one call for several passes is faster
        found, counts = [classifier.of_passes(given)], [sum(counts)]
    else:
        found = [classifier(part) for part in given]
    pairs = enumerate(zip(found, counts, strict=True))
    return torch.cat([logits_of(a, count=n, answers=answers, first=first and place == 0) for place, (a, n) in pairs])


def _is_floating(tensor: torch.Tensor) -> bool:
    return tensors.is_dense(tensor) and tensor.dtype in tensors.FLOATS
