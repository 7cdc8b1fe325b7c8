import pytest
import torch
import torchvision
from torch import nn

from common.models.resnet import BasicBlock, Bottleneck, ResNet
from tests.common.formula import fill, images


def torchvisions(build, channels):
    net = build(num_classes=10)
    net.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    net.maxpool = nn.Identity()
    return net


SHAPES = {
    torchvision.models.resnet18: {"blocks": [2, 2, 2, 2]},
    torchvision.models.resnet50: {"blocks": [3, 4, 6, 3], "block": Bottleneck},
}


@pytest.mark.parametrize("build", SHAPES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("training", [False, True])
def test_the_published_shapes_compute_what_torchvisions_compute(build, channels, training):
    ours = fill(ResNet(channels=channels, num_classes=10, width=64, **SHAPES[build]).double()).train(training)
    theirs = torchvisions(build, channels).double().train(training)
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


def test_a_bottleneck_has_four_times_the_channels_of_its_width():
    net = ResNet(channels=1, num_classes=3, width=4, blocks=[1, 2], block=Bottleneck).eval()
    assert net.layer2(net.layer1(torch.zeros(2, 4, 8, 8))).shape == (2, 4 * 2 * 4, 4, 4)


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_gradients_of_single_samples_exist(block):
    """Opacus needs them; residuals added in place would forbid them."""
    net = fill(ResNet(channels=1, num_classes=3, width=4, blocks=[1, 1], block=block)).eval()
    parameters = {name: value.detach() for name, value in net.named_parameters()}

    def answer(parameters, x):
        return torch.func.functional_call(net, parameters, x[None])[0, 0]

    x = images(3, 1, 8, 8)
    per_sample = torch.func.vmap(torch.func.grad(answer), in_dims=(None, 0))(parameters, x)
    net(x)[:, 0].sum().backward()
    for name, value in net.named_parameters():
        torch.testing.assert_close(per_sample[name].sum(dim=0), value.grad, rtol=1e-4, atol=1e-5)
