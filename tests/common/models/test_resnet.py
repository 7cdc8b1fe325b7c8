import pytest
import torch
import torchvision
from torch import nn

from common.config import ClassifierConfig, ResNetConfig
from common.datasets import SPECS
from common.models import build_classifier
from common.models.resnet import ResNet
from tests.common.formula import fill, images


def torchvisions_resnet18(channels):
    net = torchvision.models.resnet18(num_classes=10)
    net.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    net.maxpool = nn.Identity()
    return net


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("training", [False, True])
def test_the_published_shape_computes_what_torchvisions_resnet18_computes(channels, training):
    ours = fill(ResNet(channels=channels, num_classes=10, width=64, blocks=[2, 2, 2, 2]).double()).train(training)
    theirs = torchvisions_resnet18(channels).double().train(training)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x = images(2, channels, 16, 16).double()
    answer = theirs(x)
    assert answer.std() > 0.01  # the formula did not make a network that says nothing
    torch.testing.assert_close(ours(x), answer, rtol=0, atol=1e-10)


def test_stages_double_the_channels_and_halve_the_image():
    net = ResNet(channels=1, num_classes=3, width=4, blocks=[1, 2, 1]).eval()
    shapes = {}
    for name, module in net.named_children():
        module.register_forward_hook(lambda _, args, out, name=name: shapes.update({name: tuple(out.shape)}))
    net(images(2, 1, 8, 8))
    assert [len(net.get_submodule(f"layer{i}")) for i in (1, 2, 3)] == [1, 2, 1]
    expected = {"conv1": (4, 8, 8), "bn1": (4, 8, 8), "layer1": (4, 8, 8), "layer2": (8, 4, 4), "layer3": (16, 2, 2)}
    assert shapes == {name: (2, *shape) for name, shape in expected.items()} | {"fc": (2, 3)}


def test_gradients_of_single_samples_exist():
    """Opacus needs them; residuals added in place would forbid them."""
    net = fill(ResNet(channels=1, num_classes=3, width=4, blocks=[1, 1])).eval()
    parameters = {name: value.detach() for name, value in net.named_parameters()}

    def answer(parameters, x):
        return torch.func.functional_call(net, parameters, x[None])[0, 0]

    x = images(3, 1, 8, 8)
    per_sample = torch.func.vmap(torch.func.grad(answer), in_dims=(None, 0))(parameters, x)
    net(x)[:, 0].sum().backward()
    for name, value in net.named_parameters():
        torch.testing.assert_close(per_sample[name].sum(dim=0), value.grad, rtol=1e-4, atol=1e-5)


CONFIG = ClassifierConfig(resnet=ResNetConfig(width=4, blocks=[1, 1]))


def test_a_classifier_normalises_first_and_keeps_the_statistics_out_of_its_checkpoint():
    classifier = build_classifier("resnet", CONFIG, SPECS["cifar10"], seed=0).eval()
    x = images(2, 3, 8, 8)
    mean, std = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2023, 0.1994, 0.2010])
    normalised = torch.stack([(x[:, c] - mean[c]) / std[c] for c in range(3)], dim=1)
    torch.testing.assert_close(classifier(x), classifier.network(normalised))
    assert {key.partition(".")[0] for key in classifier.state_dict()} == {"network"}
    assert classifier(x).shape == (2, 10)


def test_initial_weights_come_from_the_seed_and_the_global_generator_is_left_alone():
    def weights(seed):
        return build_classifier("resnet", CONFIG, SPECS["digits"], seed=seed).state_dict()

    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    first = weights(1)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(5)
    assert all(torch.equal(value, first[key]) for key, value in weights(1).items())
    assert not torch.equal(weights(2)["network.conv1.weight"], first["network.conv1.weight"])
