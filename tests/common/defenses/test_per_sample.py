"""Gradients of single samples in networks that Opacus alone does not take, beside torch's own, one by one."""

import pytest
import torch
from opacus import GradSampleModule
from torch import nn
from torch.nn import functional as F

from common.defenses.per_sample import OutOfPlace, require_possible
from common.models import own
from common.models.classifiers import replace_batch_norm
from common.runtime.errors import UserError
from common.runtime.images import ImageSpec
from tests.common.formula import images

pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook is firing")  # on the first layer: harmless

X, LABELS = images(3, 1, 8, 8), torch.tensor([0, 2, 1])


class Residual(nn.Module):
    """Adds in place, as many networks do, or in a way that the mode cannot follow."""

    def __init__(self, how):
        super().__init__()
        self.how, self.conv, self.fc = how, nn.Conv2d(1, 1, 3, padding=1), nn.Linear(64, 3)

    def forward(self, x):
        h = self.conv(x)
        if self.how == "+=":
            h += x
            h = F.relu(h, inplace=True)
        elif self.how == "dropout":
            h = F.dropout(h) + x
        else:
            h.add_(x)
        return self.fc(h.flatten(1))


@pytest.mark.parametrize("network", ["+=", "torchvision:resnet18"])
def test_gradients_are_those_of_each_sample_alone(network):
    torch.manual_seed(0)
    made = own.build(network, ImageSpec(3, 1, 8, (0.4,), (0.3,))) if ":" in network else Residual(network)
    replace_batch_norm(made)
    require_possible(made, X, LABELS)
    module = GradSampleModule(made)
    with OutOfPlace():
        logits = module(X)
    F.cross_entropy(logits, LABELS).backward()
    found = [parameter.grad_sample for parameter in made.parameters()]
    for row in range(len(X)):
        with OutOfPlace():
            loss = F.cross_entropy(module(X[row : row + 1]), LABELS[row : row + 1])
        for alone, together in zip(torch.autograd.grad(loss, list(made.parameters())), found, strict=True):
            torch.testing.assert_close(together[row], alone, rtol=1e-3, atol=1e-5)


def test_what_cannot_be_followed_is_refused():
    with pytest.raises(UserError, match=r"--defense dpsgd: Opacus cannot clip .* in place \(such as x\.add_\(y\)\)"):
        require_possible(Residual("x.add_(y)"), X, LABELS)


def test_layers_that_mix_samples_are_refused():
    with pytest.raises(UserError, match=r"--defense dpsgd: Opacus cannot clip .*BatchNorm"):
        require_possible(nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.BatchNorm1d(3)), X, LABELS)


class Mixing(nn.Module):
    """Has a function, which knows no weights, of all samples of a batch before its last layer."""

    def __init__(self, mix, *, zeros):
        super().__init__()
        self.mix, self.dropout, self.fc = mix, nn.Dropout(), nn.Linear(64, 3)
        if zeros:
            nn.init.zeros_(self.fc.weight)

    def forward(self, x):
        x = self.dropout(x)
        return self.fc((self.mix(x) if self.training else x).flatten(1))


MIXTURES = {
    "mean": lambda x: x - x.mean(0),
    "batch norm": lambda x: F.batch_norm(x, None, None, training=True),
    "layer without weights": nn.SyncBatchNorm(1, affine=False),
    "those before": lambda x: x.cumsum(0),
    "no gradient": lambda x: x / x.detach().amax(),
}


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("mix", MIXTURES)
def test_samples_mixed_without_weights_are_refused(mix, zeros):
    with pytest.raises(UserError, match=r"--defense dpsgd: Opacus cannot clip .* it mixes samples in training"):
        require_possible(Mixing(MIXTURES[mix], zeros=zeros), X, LABELS)


@pytest.mark.parametrize("zeros", [False, True])
def test_a_function_of_each_sample_alone_is_taken_and_so_is_dropout(zeros):
    require_possible(Mixing(lambda x: x / x.amax(dim=(1, 2, 3), keepdim=True), zeros=zeros), X, LABELS)
