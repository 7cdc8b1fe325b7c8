import pytest

from common.models.config import ClassifierConfig
from common.runtime import config
from common.runtime.errors import UserError
from tests.miniature import TINY


def refusal(model, **changes):
    networks = TINY["classifier"] | {model: TINY["classifier"][model] | changes}
    with pytest.raises(UserError) as caught:
        config.parse(networks, ClassifierConfig, source="classifier.yaml")
    assert "classifier.yaml: 1 mistake" in str(caught.value)
    return str(caught.value)


def test_the_width_of_a_vit_is_shared_by_its_heads():
    assert "hidden (16) must be a multiple of heads (3)" in refusal("vit", heads=3)


@pytest.mark.parametrize(
    ("model", "key", "value"),
    [
        ("resnet", "width", 0),
        ("resnet", "blocks", []),
        ("resnet50", "blocks", [1] * 7),
        ("densenet121", "blocks", [0]),
        ("vgg16_bn", "stages", [[8], []]),
        ("vgg16_bn", "dropout", 1.0),
        ("vit", "depth", 2),
    ],
)
def test_impossible_networks_are_refused_by_the_setting(model, key, value):
    assert f"  {model}.{key}" in refusal(model, **{key: value})


def test_every_family_has_an_entry():
    networks = {model: settings for model, settings in TINY["classifier"].items() if model != "vit"}
    with pytest.raises(UserError, match="vit: missing"):
        config.parse(networks, ClassifierConfig, source="classifier.yaml")
