import math

import pytest
import torch

from common.defenses.relaxloss import RelaxLossConfig, relax_loss, train
from tests.common.defenses import TRAINING, generator, make_task

LABELS = torch.tensor([0, 1])


def logits(*rows):
    """Logits whose softmax is these probabilities."""
    return torch.tensor(rows, dtype=torch.float64).log()


GOOD = logits([0.8, 0.1, 0.1], [0.2, 0.6, 0.2])
CE = -(math.log(0.8) + math.log(0.6)) / 2


@pytest.mark.parametrize("epoch", [0, 2, 98])
@pytest.mark.parametrize("alpha", [0.0, CE - 0.1, CE + 0.25, 2.0])
def test_an_even_epoch_takes_the_distance_from_the_level(epoch, alpha):
    assert relax_loss(GOOD, LABELS, epoch, alpha=alpha, upper=1.0).item() == pytest.approx(abs(CE - alpha))


def test_an_even_epoch_climbs_below_the_level_and_descends_above_it():
    gradients = []
    for alpha in (0.0, 5.0):
        z = GOOD.clone().requires_grad_(True)
        relax_loss(z, LABELS, 0, alpha=alpha, upper=1.0).backward()
        gradients.append(z.grad)
    assert gradients[0].abs().max() > 0.01
    torch.testing.assert_close(gradients[1], -gradients[0])


@pytest.mark.parametrize("epoch", [1, 3])
def test_an_odd_epoch_above_the_level_is_plain_cross_entropy(epoch):
    assert relax_loss(GOOD, LABELS, epoch, alpha=CE - 0.01, upper=1.0).item() == pytest.approx(CE)


def test_an_odd_epoch_below_the_level_raises_the_cross_entropy_of_what_is_right():
    assert relax_loss(GOOD, LABELS, 1, alpha=CE + 0.01, upper=1.0).item() == pytest.approx(-CE)


@pytest.mark.parametrize(("upper", "q"), [(1.0, 0.3), (0.2, 0.2)])
def test_an_odd_epoch_below_the_level_flattens_what_is_wrong(upper, q):
    z = logits([0.8, 0.1, 0.1], [0.5, 0.3, 0.2])  # the second is wrong, with 0.3 on its label
    flattened = -(q * math.log(0.3) + (1 - q) / 2 * (math.log(0.5) + math.log(0.2)))
    expected = (math.log(0.8) + math.log(0.3) + flattened) / 2
    assert relax_loss(z, LABELS, 1, alpha=3.0, upper=upper).item() == pytest.approx(expected)


@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.parametrize("alpha", [0.1, 5.0])
@pytest.mark.parametrize("upper", [1.0, 0.15])
def test_the_gradient_is_that_of_finite_differences(epoch, alpha, upper):
    z = torch.randn(6, 4, dtype=torch.float64, generator=generator(), requires_grad=True)
    labels = (z.argmax(dim=1) + torch.tensor([0, 0, 0, 1, 2, 3])) % 4  # three are right, three are wrong
    torch.autograd.gradcheck(lambda z: relax_loss(z, labels, epoch, alpha=alpha, upper=upper), z)


def test_the_gradient_of_the_flattened_posterior_flows_through_q():
    z = logits([0.5, 0.3, 0.2]).requires_grad_(True)
    relax_loss(z, torch.tensor([1]), 1, alpha=5.0, upper=1.0).backward()
    p, label = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64), torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    q = torch.tensor([0.35, 0.3, 0.35], dtype=torch.float64)
    through_p = (p - q) - (p - label)  # d CE(p, q) - d CE(p, label), q held
    slope = -math.log(0.3) + (math.log(0.5) + math.log(0.2)) / 2  # d CE(p, q) / d q of the label
    through_q = slope * 0.3 * (label - p)
    torch.testing.assert_close(z.grad[0], through_p + through_q)


def test_training_uses_the_loss_of_its_epoch(tmp_path):
    config = RelaxLossConfig(**{**TRAINING, "epochs": 2, "learning_rate": 1e-9}, alpha=50.0, upper=1.0)
    task = make_task(tmp_path, config)
    train(task)
    even, odd = (float(line.split(",")[1]) for line in task.job.log_path.read_text().splitlines()[1:])
    assert 45 < even < 50  # 50 - CE
    assert odd < 5  # at most CE
