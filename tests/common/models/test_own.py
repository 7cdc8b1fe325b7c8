"""Classifiers by a function's name: the contract, what is refused, and what names an architecture."""

import linecache
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from common.models import MODELS, is_own, own
from common.models.classifiers import build_classifier, replace_batch_norm
from common.models.config import ClassifierConfig
from common.runtime.errors import UserError
from common.runtime.images import ImageSpec
from common.runtime.paths import DatasetFolder
from common.runtime.subject import Subject
from tests.common.formula import fill, images
from tests.miniature import TINY

SPEC = ImageSpec(3, 1, 8, (0.4,), (0.3,))
CONFIG = ClassifierConfig.model_validate(TINY["classifier"])

MODULE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes, image_shape, stride=1):
        super().__init__()
        channels, height, width = image_shape
        self.conv1 = nn.Sequential(nn.Conv2d(channels, 4, 3, stride=stride, padding=1), nn.BatchNorm2d(4))
        self.fc = nn.LazyLinear(num_classes)

    def forward(self, x):
        # a comment
        return self.fc(self.conv1(x).relu().flatten(1))

def build(num_classes, image_shape):
    return Net(num_classes, image_shape)

def no_module(num_classes, image_shape):
    return 3

def probabilities(num_classes, image_shape):
    return nn.Sequential(Net(num_classes, image_shape), nn.Softmax(dim=1))

def two_answers(num_classes, image_shape):
    class Two(Net):
        def forward(self, x):
            return super().forward(x), x
    return Two(num_classes, image_shape)

def too_many(num_classes, image_shape):
    return Net(num_classes + 1, image_shape)

def fails(num_classes, image_shape):
    raise KeyError("what the user did")

def untrainable(num_classes, image_shape):
    class Overwrites(Net):
        def forward(self, x):
            h = torch.exp(self.conv1(x))
            h.zero_()
            return self.fc(h.flatten(1))
    return Overwrites(num_classes, image_shape)

nothing = None
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Writes modules into the current folder, each under a name that no test before has imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(text=MODULE):
        name = f"models_of_{tmp_path.name}_{len(list(tmp_path.iterdir()))}"
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return write


def test_a_function_in_the_current_folder_gets_the_shapes_and_its_network_normalised_images(here):
    model = f"{here()}:build"
    classifier = fill(build_classifier(model, CONFIG, SPEC, seed=0).double()).eval()
    x = images(2, 1, 8, 8).double()
    torch.testing.assert_close(classifier(x), classifier.network((x - 0.4) / 0.3))
    assert classifier(x).shape == (2, 3) and {key.split(".")[0] for key in classifier.state_dict()} == {"network"}
    again, other = (build_classifier(model, CONFIG, SPEC, seed=seed).state_dict() for seed in (0, 1))
    first = build_classifier(model, CONFIG, SPEC, seed=0).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    assert not torch.equal(first["network.fc.weight"], other["network.fc.weight"])


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("no_module", r"gave a int, expected a torch\.nn\.Module"),
        ("probabilities", r"answered probabilities.*leave the softmax away"),
        ("two_answers", r"answered a tuple, expected floating logits \[2, 3\]"),
        ("too_many", r"answered torch\.float32 \(2, 4\), expected floating logits \[2, 3\]"),
        ("fails", r"for images \(1, 8, 8\): KeyError: 'what the user did'"),
        ("untrainable", r"RuntimeError: one of the variables needed for gradient"),
        ("nothing", r"has no function nothing"),
        ("not_there", r"has no function not_there"),
    ],
)
def test_what_is_no_classifier_is_refused_by_name(here, function, said):
    model = f"{here()}:{function}"
    with pytest.raises(UserError, match=rf"(?s)--model {model}: .*{said}"):
        own.architecture(model, SPEC)


def test_a_module_that_is_missing_is_told_from_one_that_misses_something(here):
    with pytest.raises(UserError, match=r"no module nowhere_at_all on PYTHONPATH, .*, or in"):
        own.build("nowhere_at_all.inside:build", SPEC)
    with pytest.raises(UserError, match="ModuleNotFoundError: No module named 'another_package'"):
        own.build(f"{here('import another_package')}:build", SPEC)


def test_an_architecture_is_the_network_and_its_code_but_not_its_comments(here):
    module = here()

    def named(*changes):
        """With changed text in the same file."""
        text = MODULE
        for change in changes:
            assert change[0] in text
            text = text.replace(*change)
        Path(f"{module}.py").write_text(text)
        sys.modules.pop(module, None)
        linecache.clearcache()
        own.architecture.cache_clear()
        return own.architecture(f"{module}:build", SPEC)

    first = named()
    assert named(("# a comment", "# another one")) == named(("return 3", "return 4")) == first
    others = {
        named((".relu()", ".tanh()")),
        named(("stride=1", "stride=2")),
        named(("channels, 4, 3", "channels, 8, 3"), ("BatchNorm2d(4)", "BatchNorm2d(8)")),
    }
    assert len(others) == 3 and first not in others


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5"])
def test_networks_of_torchvision_take_images_of_any_channels(name):
    network = own.build(f"torchvision:{name}", SPEC).eval()
    assert network(images(2, 1, 8, 8)).shape == (2, 3)
    assert not any(getattr(module, "inplace", False) for module in network.modules())


def test_a_name_that_a_library_has_not_is_refused_with_those_alike():
    with pytest.raises(
        UserError, match=r"torchvision has no such classifier; it has \d+, such as resnet101, resnet152"
    ):
        own.build("torchvision:resnet17", SPEC)


def test_networks_of_timm_need_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(
        UserError, match=r"timm:resnet18 needs the timm package: `pip install -r requirements-timm\.txt`"
    ):
        own.build("timm:resnet18", SPEC)


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_networks_of_timm(name):
    pytest.importorskip("timm")
    spec = ImageSpec(3, 1, 32, (0.4,), (0.3,))
    assert own.build(f"timm:{name}", spec).eval()(images(2, 1, 32, 32)).shape == (2, 3)


BAD = [
    "",
    "resnet18",
    ":build",
    "a:",
    "../a:build",
    "a/b:build",
    "a:b.c",
    "a:b:c",
    "a..b:c",
    ".a:b",
    "a:..",
    "1a:b",
    "a b:c",
]


@pytest.mark.parametrize("model", [*BAD, "a" * 200 + ":b", "ä:b", "a:b\n"])
def test_other_names_than_those_of_functions_are_none(model):
    assert not is_own(model)


def test_each_model_has_a_folder_of_its_own(tmp_path):
    models = [*MODELS, "a:b", "a.b:c", "torchvision:resnet18", "resnet:build", "vit.a:b"]
    assert all(is_own(model) != (model in MODELS) for model in models)
    folder = DatasetFolder(tmp_path / "digits")
    paths = [folder.classifier(Subject(model)) for model in models]
    assert len(set(paths)) == len(models) and {path.parent.parent for path in paths} == {
        folder.root / "final-all-models"
    }
    assert folder.classifier(Subject("a.b:c")).parent.name == "a.b.c"


def test_group_norm_in_the_place_of_batch_norm_on_vectors_keeps_what_they_say():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.Linear(32, 3))
    replace_batch_norm(network)
    x = images(5, 1, 8, 8)
    together = network(x)
    torch.testing.assert_close(together, torch.cat([network(image[None]) for image in x]))
    assert together.std(dim=0).min() > 1e-3
