import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.formats import published
from common.models.classifiers import replace_batch_norm
from common.models.resnet import ResNet
from common.runtime.errors import UserError
from tests.common import published_files as files

BLOCKS = st.lists(st.integers(1, 3), min_size=1, max_size=6)


@given(BLOCKS, st.sampled_from(["batch", "group"]), st.booleans())
def test_names_become_those_of_our_resnet_and_come_back(blocks, norm, prefix):
    shapes = files.resnet_shapes(width=2, blocks=blocks, channels=1, num_classes=3, norm=norm)
    theirs = {name: torch.zeros(shape) for name, shape in shapes.items()}
    ours = ResNet(channels=1, num_classes=3, width=2, blocks=blocks)
    if norm == "group":
        replace_batch_norm(ours)
    own = published.own_form(files.prefixed(theirs) if prefix else theirs, source="x.pth.tar")
    assert {name: value.shape for name, value in own.items()} == {
        name: value.shape for name, value in ours.state_dict().items()
    }
    assert published.has_group_norm(own) == (norm == "group")
    back = published.published_form(own, source="x.pth.tar")
    assert list(back) == list(theirs) and all(back[name] is theirs[name] for name in back)
    assert published.published_form(theirs, source="x.pth.tar") == back


def test_names_by_hand():
    """As ResNets of torchvision name the same layers."""
    pairs = {
        "conv1.0.weight": "conv1.weight",
        "conv1.1.running_var": "bn1.running_var",
        "conv2_x.0.residual_function.0.weight": "layer1.0.conv1.weight",
        "conv2_x.1.residual_function.1.bias": "layer1.1.bn1.bias",
        "conv3_x.0.residual_function.3.weight": "layer2.0.conv2.weight",
        "conv4_x.1.residual_function.4.num_batches_tracked": "layer3.1.bn2.num_batches_tracked",
        "conv5_x.0.shortcut.0.weight": "layer4.0.downsample.0.weight",
        "conv5_x.0.shortcut.1.running_mean": "layer4.0.downsample.1.running_mean",
        "fc.bias": "fc.bias",
    }
    theirs = {name: position for position, name in enumerate(pairs)}
    ours = {name: position for position, name in enumerate(pairs.values())}
    assert published.own_form(theirs, source="x") == ours
    assert published.published_form(ours, source="x") == theirs


def test_weights_in_our_own_form_are_left_as_they_are():
    ours = {"features.0.weight": 1, "conv1.weight": 2, "layer1.0.conv3.weight": 3}
    assert published.own_form(ours, source="x") == published.own_form(files.prefixed(ours), source="x") == ours


@pytest.mark.parametrize("name", ["layer1.0.conv3.weight", "features.0.weight", "layer0.0.conv1.weight", "bias"])
def test_another_network_has_no_published_form(name):
    with pytest.raises(UserError, match=rf"x\.pth\.tar: {name} is no weight of the published ResNet"):
        published.published_form({"conv1.weight": 0, name: 1}, source="x.pth.tar")


@pytest.mark.parametrize("name", ["conv1_x.0.residual_function.0.weight", "conv2_x.a.shortcut.0.weight", "conv1.0", ""])
def test_an_unknown_published_name_is_told(name):
    with pytest.raises(UserError, match=r"x\.pth\.tar: .* is no weight of the published ResNet"):
        published.own_form({"conv1.0.weight": 0, name: 1}, source="x.pth.tar")


def test_a_prefix_that_only_some_names_have_is_left():
    mixed = {"module.fc.weight": 0, "fc.weight": 1}
    assert published.without_prefix(mixed, source="x") == mixed


@pytest.mark.parametrize("prefixes", ["_module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod._module."])
def test_prefixes_of_wrapped_modules_are_taken_off_in_any_order(prefixes):
    ours = {"conv1.weight": 1, "fc.bias": 2}
    wrapped = {prefixes + key: value for key, value in ours.items()}
    assert published.without_prefix(wrapped, source="x") == published.own_form(wrapped, source="x") == ours


def test_an_averaged_models_counter_is_left_out():
    averaged = {"n_averaged": 7, "module._orig_mod.fc.weight": 1, "module._orig_mod.fc.bias": 2}
    assert published.without_prefix(averaged, source="x") == {"fc.weight": 1, "fc.bias": 2}
    lonely = {"n_averaged": 7}
    assert published.without_prefix(lonely, source="x") == lonely


def test_names_that_are_no_text_are_refused():
    with pytest.raises(UserError, match=r"x\.pt: its weights have names that are not text"):
        published.without_prefix({"fc.weight": 0, 3: 1}, source="x.pt")
