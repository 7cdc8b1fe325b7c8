"""What may enter the fence: for any input the labels are the classifier's own, or it is refused with what is wrong."""

from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from common.diffence import Diffence
from common.diffusion.denoiser import Denoiser
from tests.common.formula import fill, images

ALPHA_BAR = torch.linspace(1, 0.5, 11, dtype=torch.float64)
NET = fill(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)))
X = images(5, 1, 8, 8)


def fence(classifier=NET, *, image_shape=None, **options):
    denoiser = Denoiser(lambda x, index: 0.1 * x, ALPHA_BAR, image_shape=image_shape)
    return Diffence(classifier, denoiser, num_candidates=3, step=3, **options)


def z(x):
    with torch.no_grad():
        return NET(x)


Output = namedtuple("Output", "logits")
REFUSED = {
    "tuple": (lambda x: (z(x), None), "answered a tuple"),
    "named tuple": (lambda x: Output(z(x)), "answered a Output"),
    "dict": (lambda x: {"logits": z(x)}, "answered a dict"),
    "output object": (
        lambda x: SimpleNamespace(logits=z(x)),
        r"answered a SimpleNamespace.*lambda x: model\(x\)\.logits",
    ),
    "list": (lambda x: z(x).tolist(), "answered a list"),
    "array": (lambda x: z(x).numpy(), "answered a ndarray"),
    "nothing": (lambda x: None, "answered a NoneType"),
    "integers": (lambda x: z(x).round().long(), r"torch.int64 \(5, 3\), expected floating logits"),
    "labels": (lambda x: z(x).argmax(dim=1), "torch.int64"),
    "booleans": (lambda x: z(x) > 0, "torch.bool"),
    "complex": (lambda x: z(x).to(torch.complex64), "torch.complex64"),
    "one logit": (lambda x: z(x)[:, :1], r"\(\d+, 1\), expected logits \[\d+, K\] with K at least 2"),
    "no batch": (lambda x: z(x)[0], r"\(3,\), expected logits"),
    "other batch": (lambda x: z(x)[:1].expand(2, 3), r"\(2, 3\), expected logits"),
    "probabilities": (lambda x: z(x).softmax(1), 'answered probabilities.*answers="probabilities"'),
    "half probabilities": (lambda x: z(x).softmax(1).half(), "answered probabilities"),
    "sparse": (lambda x: z(x).to_sparse(), "torch.sparse_coo"),
    "meta": (lambda x: z(x).to("meta"), r"\(meta\), expected floating logits"),
    "one-hot": (lambda x: nn.functional.one_hot(z(x).argmax(1), 3).float(), "answered probabilities"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_logits_is_refused_by_name_before_any_reconstruction(name):
    classifier, complaint = REFUSED[name]
    asked = []
    fenced = Diffence(classifier, Denoiser(lambda x, index: asked.append(x) or x, ALPHA_BAR), num_candidates=3, step=3)
    with pytest.raises(ValueError, match=complaint):
        fenced(X)
    assert not asked


def test_probabilities_are_taken_where_they_are_announced():
    fenced = fence(lambda x: z(x).softmax(1), answers="probabilities")
    torch.testing.assert_close(fenced(X).softmax(1), fence()(X).softmax(1))
    certain = fence(lambda x: nn.functional.one_hot(z(x).argmax(1), 3).float(), answers="probabilities")
    assert certain(X).isfinite().all() and torch.equal(certain(X).argmax(1), z(X).argmax(1))
    with pytest.raises(ValueError, match="does not sum to 1 or is negative"):
        fence(answers="probabilities")(X)
    with pytest.raises(ValueError, match="answers must be one of logits, probabilities"):
        fence(answers="scores")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_of_probabilities_that_differ_in_their_last_bit_the_greater_one_is_the_label(dtype):
    """Their logarithms would be the same number, and of equal ones the first would be the label."""
    p = torch.full((10,), 0.1, dtype=dtype)
    p[4] = p[4].nextafter(p.new_tensor(1))
    fenced = fence(lambda x: p.expand(len(x), 10), answers="probabilities")
    assert fenced(X).argmax(1).tolist() == [4] * 5


def test_logits_that_sum_to_1_by_chance_are_taken_once_the_classifier_has_answered_others():
    answer = [z]
    fenced = fence(lambda x: answer[0](x))
    fenced(X)
    answer[0] = lambda x: torch.tensor([[0.25, 0.75]]).expand(len(x), 2)
    assert fenced(X).tolist() == [[0.25, 0.75]] * 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("weights", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_images_of_any_floating_type_are_computed_in_the_networks(dtype, weights):
    net = fill(nn.Sequential(nn.Flatten(), nn.Linear(64, 3))).to(weights)
    given = X.to(dtype)
    wanted = net(given.to(weights)).argmax(1)
    assert torch.equal(fence(net)(given).argmax(1), wanted)


@pytest.mark.parametrize("shape", [(5, 1, 16, 16), (5, 3, 8, 8), (5, 1, 8, 7)])
def test_images_of_another_shape_than_the_diffusion_models_are_refused_with_both(shape):
    with pytest.raises(ValueError, match=r"for images \[1, 8, 8\], found images \[\d, \d+, \d+\]"):
        fence(lambda x: x.flatten(1)[:, :3], image_shape=(1, 8, 8))(images(*shape))
    assert fence(lambda x: x.flatten(1)[:, :3] - 1)(images(*shape)).shape == (5, 3)  # where the shape is not known


@pytest.mark.parametrize("x", [X.numpy(), None, [X], X.to(torch.complex64), X[:, 0]])
def test_what_is_no_batch_of_images_is_refused(x):
    with pytest.raises(ValueError, match=r"expected float images \[B, C, H, W\]"):
        fence()(x)


@given(
    st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.uint8, torch.int64]),
    st.sampled_from([(5, 1, 8, 8), (1, 1, 8, 8), (5, 64), (0, 1, 8, 8), (5, 4, 4, 4), (2, 1, 16, 4)]),
    st.sampled_from([0.0, 0.3, 1.0, 1.01, -0.01, float("nan")]),
    st.sampled_from([None, *REFUSED]),
)
def test_labels_are_the_classifiers_own_or_it_is_refused(dtype, shape, value, answer):
    x = torch.full(shape, np.nan_to_num(value)).to(dtype)
    if x.numel() and x.is_floating_point():
        x.view(-1)[0] = value
    classifier = z if answer is None else REFUSED[answer][0]
    try:
        labels = fence(classifier, image_shape=(1, 8, 8))(x).argmax(1)
    except ValueError as error:
        assert str(error).startswith(("expected ", "the classifier answered ", "the diffusion model is for images "))
    else:
        assert answer is None and torch.equal(labels, z(x.float()).argmax(1))


def test_a_precision_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="precision must be one of fp32, bf16, not 'fp16'"):
        Denoiser(lambda x, index: x, ALPHA_BAR, precision="fp16")
