"""Programs of torch.export: honest ones give the classifier's answers, and code that an archive brings is not run."""

import io
import json
import pickle
import zipfile
from contextlib import suppress

import pytest
import torch
from torch import nn

from common.formats import exported_program, given_model
from common.runtime.errors import UserError
from tests.common.hostile import RunsACommand

GRAPH, WEIGHTS = "models/model.json", "data/weights/model_weights_config.json"
CONSTANTS, SAMPLES = "data/constants/model_constants_config.json", "data/sample_inputs/model.pt"


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.constant = torch.arange(4.0)

    def forward(self, x):
        with torch.no_grad():
            features = torch.relu(self.norm(self.convolution(x))).flatten(2)
            return (
                torch.einsum("bcn,bn->bc", features, features[:, 0])
                + self.constant
                + torch.cat([x, x]).sum(dim=(1, 2, 3)).mean()
            )


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """A classifier, and the path of its program for batches of any size."""
    classifier = Classifier().eval()
    program = torch.export.export(
        classifier, (torch.rand(2, 3, 8, 8),), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},)
    )
    path = tmp_path_factory.mktemp("programs") / "m.pt2"
    torch.export.save(program, path, extra_files={"notes.txt": "mine"})
    return classifier, path


def changed(path, to, changes):
    """The archive with some files in another form: name -> what makes the new bytes of the old ones."""
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(to, "w") as copy:
        old = {entry.filename.partition("/")[2]: archive.read(entry) for entry in archive.infolist()}
        for name in {**old, **changes}:
            copy.writestr(f"m/{name}", changes[name](old.get(name)) if name in changes else old[name])
    return to


def in_json(change):
    def make(old):
        content = json.loads(old)
        change(content)
        return json.dumps(content).encode()

    return make


def saved(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def first_size(program):
    return program["graph_module"]["graph"]["tensor_values"]["x"]["sizes"][0]["as_expr"]


def armed(marker):
    """Changes of an archive by each of which torch's own reader runs a command."""
    bomb, python = RunsACommand(marker), f"__import__('os').system('touch {marker}')"

    def of_weight(config):
        next(iter(config["config"].values())).update(use_pickle=True, path_name="weight_0")

    def of_constant(config):
        next(iter(config["config"].values())).update(use_pickle=True, path_name="opaque_obj_0")

    return {
        "a weight": {WEIGHTS: in_json(of_weight), "data/weights/weight_0": lambda _: saved(bomb)},
        "a constant": {CONSTANTS: in_json(of_constant), "data/constants/opaque_obj_0": lambda _: pickle.dumps(bomb)},
        "old weights": {"data/weights/model.pt": lambda _: saved({"a": bomb})},
        "old constants": {"data/constants/model.pt": lambda _: saved({"a": bomb})},
        "sample inputs": {SAMPLES: lambda _: saved(((bomb,), {}))},
        "a size": {GRAPH: in_json(lambda program: first_size(program).update(expr_str=python))},
        "a guard": {GRAPH: in_json(lambda program: program.update(guards_code=[python]))},
    }


def test_an_honest_program_gives_the_classifiers_answers(honest):
    classifier, path = honest
    x = torch.rand(5, 3, 8, 8)
    assert torch.equal(given_model.load(str(path), torch.device("cpu"))(x), classifier(x))


@pytest.mark.parametrize("where", armed(None))
def test_code_in_an_archive_is_not_run(honest, tmp_path, where):
    """Either the file is refused, or that part of it is left alone: torch's own reader does run it."""
    marker = tmp_path / "marker"
    path = changed(honest[1], tmp_path / "m.pt2", armed(marker)[where])
    if where in ("sample inputs", "a guard"):  # nobody needs them
        given_model.load(str(path), torch.device("cpu"))
    else:
        with pytest.raises(UserError, match="read only where nothing in it could run"):
            given_model.load(str(path), torch.device("cpu"))
    assert not marker.exists()
    with suppress(Exception):
        torch.export.load(path).module()(torch.rand(2, 3, 8, 8))
    assert marker.exists()


@pytest.mark.parametrize(
    "target",
    [
        *("torch.os.system", "torch.ops.load_library", "torch.ops.aten.save.default", "torch.ops.aten.from_file"),
        *("torch.ops.aten.conv2d.__call__", "torch.ops.aten.__class__.x", "torch.ops.higher_order.aoti_call_delegate"),
        *("_operator.methodcaller", "math.x", "#triton:x", "x.torch.ops.aten.relu.default"),
    ],
)
def test_only_operations_on_tensors_are_taken(honest, tmp_path, target):
    def of_node(program):
        program["graph_module"]["graph"]["nodes"][0]["target"] = target

    with pytest.raises(UserError, match="no operation on tensors"):
        exported_program.load(changed(honest[1], tmp_path / "m.pt2", {GRAPH: in_json(of_node)}))


@pytest.mark.parametrize(
    "size", ["evil(1)", "evil (1)", "(evil)(1)", "Symbol('s0')(1)", "a.b", "'x'", "x[0]", "9**9", "preAdd(1)"]
)
def test_sizes_are_sums_and_products(honest, tmp_path, size):
    change = in_json(lambda program: first_size(program).update(expr_str=size))
    with pytest.raises(UserError, match="could be run as Python"):
        exported_program.load(changed(honest[1], tmp_path / "m.pt2", {GRAPH: change}))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"data/aotinductor/model/x.so": lambda _: b""}, "x.so"),
        ({"models/other.json": lambda _: b"{}"}, "other.json"),
        ({WEIGHTS: lambda _: b'{"config": {"a": {"use_pickle": 0, "path_name": "weight_0"}}}'}, "a pickle"),
        ({WEIGHTS: lambda _: b'{"config": {"a": {"use_pickle": false, "path_name": "../x"}}}'}, "a pickle"),
        ({GRAPH: in_json(lambda program: program["graph_module"]["graph"]["inputs"][0].update(name="a=b()"))}, "a=b"),
        ({GRAPH: lambda old: old.replace(b"builtins.dict", b"collections.defaultdict")}, "collections.defaultdict"),
        ({GRAPH: lambda _: b"[" * 100_000}, "nested too deeply"),
    ],
)
def test_what_is_not_needed_for_a_classifier_is_refused(honest, tmp_path, changes, says):
    with pytest.raises(UserError, match=says):
        exported_program.load(changed(honest[1], tmp_path / "m.pt2", changes))
