"""What holds for every classifier family, and for each beside torchvision's own network."""

import pytest
import torch
import torchvision
from opacus import GradSampleModule
from torch import nn
from torch.nn import functional as F

from common.data.config import DatasetConfig
from common.models import MODELS
from common.models.classifiers import build_classifier, replace_batch_norm
from common.models.config import ClassifierConfig
from common.models.densenet import DenseNet
from common.models.vgg import VGG
from common.models.vit import VisionTransformer
from common.runtime import config
from common.runtime.errors import UserError
from common.runtime.paths import REPOSITORY
from tests.common.formula import fill, images
from tests.miniature import TINY

CONFIG = ClassifierConfig.model_validate(TINY["classifier"])


def spec_of(dataset):
    return config.load(REPOSITORY / dataset / "configs" / "data.yaml", DatasetConfig).spec


def of_dataset(model, dataset, **options):
    """The network that a dataset's YAML file describes."""
    path = REPOSITORY / dataset / "configs" / "classifier.yaml"
    return build_classifier(model, config.load(path, ClassifierConfig), spec_of(dataset), seed=0, **options)


def tiny(model, dataset="digits", *, seed=0, **options):
    return build_classifier(model, CONFIG, spec_of(dataset), seed=seed, **options)


def images_of(dataset, count):
    spec = spec_of(dataset)
    return images(count, spec.channels, spec.image_size, spec.image_size)


@pytest.mark.parametrize("dataset", ["digits", "cifar100"])
@pytest.mark.parametrize("model", MODELS)
def test_the_configured_networks_answer_images_of_their_dataset_and_keep_their_size_at_first(model, dataset):
    classifier = of_dataset(model, dataset).eval()
    sizes = []
    for module in classifier.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _, args, out: sizes.append(out.shape[2:]))
    assert classifier(images_of(dataset, 2)).shape == (2, spec_of(dataset).num_classes)
    patch = {"digits": 2, "cifar100": 4}[dataset] if model == "vit" else 1
    assert sizes[0] == (spec_of(dataset).image_size // patch,) * 2
    assert len(sizes) == 1 or sizes[1] == sizes[0]


@pytest.mark.parametrize("model", MODELS)
def test_a_classifier_normalises_first_and_keeps_the_statistics_out_of_its_checkpoint(model):
    classifier = fill(tiny(model, "cifar10").double()).eval()
    x = images_of("cifar10", 2).double()
    mean, std = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2023, 0.1994, 0.2010])
    normalised = torch.stack([(x[:, c] - mean[c]) / std[c] for c in range(3)], dim=1)
    torch.testing.assert_close(classifier(x), classifier.network(normalised), rtol=0, atol=1e-9)
    assert {key.partition(".")[0] for key in classifier.state_dict()} == {"network"}
    assert classifier(x).std() > 1e-3


@pytest.mark.parametrize("model", MODELS)
def test_initial_weights_come_from_the_seed_and_the_global_generator_is_left_alone(model):
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    first = tiny(model, seed=1).state_dict()
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(5)
    assert all(torch.equal(value, first[key]) for key, value in tiny(model, seed=1).state_dict().items())
    others = tiny(model, seed=2).state_dict()
    drawn = [key for key, value in first.items() if value.ndim > 1 and value.std() > 0]
    assert drawn and not any(torch.equal(others[key], first[key]) for key in drawn)


@pytest.mark.parametrize("group_norm", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_an_answer_does_not_depend_on_the_batch(model, group_norm):
    classifier = fill(tiny(model, group_norm=group_norm).double()).eval()
    x = images_of("digits", 7).double()
    with torch.no_grad():
        together, alone = classifier(x), torch.cat([classifier(image[None]) for image in x])
    assert together.std(dim=0).min() > 1e-4  # different images get different answers
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-10)


@pytest.mark.parametrize("model", MODELS)
def test_no_batch_norm_is_left_where_group_norm_is_asked_for(model):
    classifier = tiny(model, group_norm=True)
    assert not any(isinstance(part, nn.modules.batchnorm._NormBase) for part in classifier.modules())
    assert any(isinstance(part, (nn.GroupNorm, nn.LayerNorm)) for part in classifier.modules())


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")  # Opacus's hook on the first layer: harmless
@pytest.mark.filterwarnings("ignore:There is a performance drop")  # attention, sample by sample
@pytest.mark.parametrize("dataset", ["digits", "cifar10"])
@pytest.mark.parametrize("model", MODELS)
def test_opacus_finds_the_gradient_of_each_sample(model, dataset):
    """DP-SGD clips them; dropout is off, since the slow way would draw other masks.

    In float64: in float32 a rounding can turn a ReLU on or off.
    """
    classifier = fill(tiny(model, dataset, group_norm=True)).train().to(memory_format=torch.contiguous_format).double()
    for module in classifier.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    x, labels = images_of(dataset, 3).double(), torch.tensor([1, 0, 2])
    slow = [
        torch.autograd.grad(F.cross_entropy(classifier(image[None]), label[None]), list(classifier.parameters()))
        for image, label in zip(x, labels, strict=True)
    ]
    F.cross_entropy(GradSampleModule(classifier)(x), labels).backward()
    for parameter, *of_samples in zip(classifier.parameters(), *slow, strict=True):
        torch.testing.assert_close(parameter.grad_sample, torch.stack(of_samples), rtol=1e-9, atol=1e-9)


def test_replacing_batch_norm_reaches_every_depth():
    network = nn.Sequential(nn.Sequential(nn.Conv2d(3, 12, 1), nn.ModuleDict({"norm": nn.BatchNorm2d(12)})))
    replace_batch_norm(network)
    assert isinstance(network[0][1]["norm"], nn.GroupNorm) and network[0][1]["norm"].num_groups == 4


@pytest.mark.parametrize("training", [False, True])
def test_the_densenet_computes_what_torchvisions_densenet121_computes(training):
    settings = {"growth_rate": 32, "init_features": 64, "blocks": [6, 12, 24, 16]}
    ours = fill(DenseNet(channels=1, num_classes=10, image_size=16, **settings).double()).train(training)
    theirs = torchvision.models.densenet121(num_classes=10)
    theirs.features.conv0 = nn.Conv2d(1, 64, 3, padding=1, bias=False)
    theirs.features.pool0 = nn.Identity()
    agree(ours, theirs.double().train(training), images(2, 1, 16, 16).double())


def test_the_vgg_computes_what_torchvisions_vgg16_bn_computes():
    stages = [[64, 64], [128, 128], [256] * 3, [512] * 3, [512] * 3]
    ours = fill(VGG(channels=3, num_classes=10, image_size=32, stages=stages, hidden=64, dropout=0.5).double()).eval()
    theirs = nn.Module()
    theirs.features = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"], batch_norm=True)
    theirs.classifier = nn.Sequential(
        nn.Linear(512, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 10)
    )
    theirs.forward = lambda x: theirs.classifier(theirs.features(x).flatten(1))  # the last feature map is 1x1
    agree(ours, theirs.double().eval(), images(2, 3, 32, 32).double())


@pytest.mark.parametrize("training", [False, True])
def test_the_vit_computes_what_torchvisions_vit_computes(training):
    settings = {"patch_size": 4, "layers": 2, "heads": 2, "hidden": 16, "mlp": 24}
    ours = fill(VisionTransformer(channels=3, num_classes=10, image_size=8, **settings).double()).train(training)
    theirs = torchvision.models.VisionTransformer(8, 4, 2, 2, 16, 24, num_classes=10)
    agree(ours, theirs.double().train(training), images(2, 3, 8, 8).double())


def agree(ours, theirs, x):
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    theirs.load_state_dict(ours.state_dict())
    answer = theirs.forward(x)
    assert answer.std() > 1e-3  # the formula did not make a network that says nothing
    torch.testing.assert_close(ours(x), answer, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("model", "setting", "complaint"),
    [
        ("vgg16_bn", {"stages": [[4]] * 4}, "stages of vgg16_bn: images of size 8 cannot be halved 4 times"),
        ("densenet121", {"blocks": [1] * 5}, "blocks of densenet121: images of size 8 cannot be halved 4 times"),
        ("vit", {"patch_size": 3}, "patch_size of vit: images of size 8 cannot be cut into patches of 3"),
    ],
)
def test_networks_too_deep_for_the_images_are_refused_by_the_setting(model, setting, complaint):
    def settings(**changes):
        networks = TINY["classifier"] | {model: TINY["classifier"][model] | changes}
        return ClassifierConfig.model_validate(networks)

    with pytest.raises(UserError, match=complaint):
        build_classifier(model, settings(**setting), spec_of("digits"), seed=0)
    fits = {"stages": [[4]] * 3, "blocks": [1] * 4, "patch_size": 8}
    (name,) = setting
    classifier = build_classifier(model, settings(**{name: fits[name]}), spec_of("digits"), seed=0).eval()
    assert classifier(images_of("digits", 2)).shape == (2, 10)
