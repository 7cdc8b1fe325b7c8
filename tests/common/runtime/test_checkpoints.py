import collections
import io
import math
import pickle
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from common.diffence.rule import EVERYWHERE
from common.runtime import checkpoints, storage
from common.runtime.errors import UserError
from tests.common.hostile import RunsACommand, assert_armed, assert_checkpoint_armed


def saved(folder, state, name="c.pt"):
    checkpoints.save(folder / name, state)
    return (folder / name).read_bytes()


def test_the_bytes_of_a_checkpoint_do_not_depend_on_what_shares_an_object(tmp_path):
    weights, numbers, name = torch.arange(6.0), [1, 2], "a name made of words"
    shared = {"a": weights, "b": weights, "n": numbers, "m": numbers, name: {"name": name}}
    apart = {
        "a": weights.clone(),
        "b": torch.arange(12.0)[:6],  # a view of a larger storage
        "n": [1, 2],
        "m": list(numbers),
        "".join(name): {"name": bytes(name, "utf-8").decode()},
    }
    assert saved(tmp_path, shared) == saved(tmp_path, apart)


@pytest.mark.parametrize("make", [lambda: np.float64(3), lambda: (1, [2.5])])
def test_the_bytes_of_a_checkpoint_do_not_depend_on_what_other_values_share_an_object(tmp_path, make):
    value = make()
    assert saved(tmp_path, {"a": value, "b": value}) == saved(tmp_path, {"a": make(), "b": make()})


def test_the_bytes_of_a_checkpoint_depend_on_its_values_and_not_on_its_name_or_layout(tmp_path):
    weights = torch.arange(24.0).reshape(1, 2, 3, 4)
    bytes_of = saved(tmp_path, {"w": weights})
    assert saved(tmp_path, {"w": weights}, "another name.pt") == bytes_of
    assert saved(tmp_path, {"w": nn.Parameter(weights)}) == bytes_of
    assert saved(tmp_path, {"w": weights.to(memory_format=torch.channels_last)}) == bytes_of
    assert saved(tmp_path, {"w": weights + 1}) != bytes_of


def test_a_loaded_optimiser_state_is_saved_with_the_same_bytes(tmp_path):
    """What a resumed run does: the state went through a file once more."""
    net = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(net.parameters(), amsgrad=True)
    net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    first = saved(tmp_path, {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3})
    again = nn.Linear(3, 2)
    optimizer_again = torch.optim.Adam(again.parameters(), lr=1.0)
    state = checkpoints.read(tmp_path / "c.pt", expect={"net": dict, "optimizer": dict, "epoch": int}).content
    again.load_state_dict(state["net"])
    optimizer_again.load_state_dict(state["optimizer"])
    assert saved(tmp_path, {"net": again.state_dict(), "optimizer": optimizer_again.state_dict(), "epoch": 3}) == first


def test_saving_takes_a_copy_in_plain_values():
    weights = torch.zeros(2)
    copy = checkpoints.plain({"w": weights, "betas": (0.9, 0.999), "list": [1], "best": np.float64(0.5)})
    weights += 1
    assert copy["w"].tolist() == [0, 0]
    assert copy["betas"] == (0.9, 0.999) and copy["list"] == [1] and type(copy["best"]) is float


def test_named_tuples_become_tuples():
    copy = checkpoints.plain({"interval": EVERYWHERE})["interval"]
    assert copy == (-math.inf, math.inf) and type(copy) is tuple


GOOD = {"state_dict": {"w": torch.arange(50.0)}, "best_acc": 0.5, "epoch": 3}
EXPECT = {"state_dict": dict, "epoch": int}


def refusal(path, expect=EXPECT):
    with pytest.raises(UserError) as caught:
        checkpoints.read(path, expect=expect)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_checkpoint_comes_back(tmp_path):
    saved(tmp_path, GOOD)
    state = checkpoints.read(tmp_path / "c.pt", expect=EXPECT).content
    assert state.keys() == GOOD.keys() and (state["best_acc"], state["epoch"]) == (0.5, 3)
    assert torch.equal(state["state_dict"]["w"], torch.arange(50.0))


@given(st.floats(0, 1, exclude_max=True))
def test_a_truncated_checkpoint_is_refused(tmp_path_factory, share):
    folder = tmp_path_factory.mktemp("checkpoint")
    data = saved(folder, GOOD)
    (folder / "c.pt").write_bytes(data[: int(share * len(data))])
    assert "not a readable checkpoint (missing, truncated" in refusal(folder / "c.pt")


@given(st.binary(max_size=80))
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("checkpoint") / "c.pt"
    path.write_bytes(data)
    refusal(path)


def test_a_pickle_with_a_command_is_refused_and_not_run(tmp_path):
    path, marker = tmp_path / "c.pt", tmp_path / "marker"
    path.write_bytes(pickle.dumps({"state_dict": {}, "epoch": RunsACommand(marker)}, protocol=2))
    assert "more than tensors and plain values" in refusal(path)
    assert_armed(path, marker)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_with_a_command_is_refused_and_not_run(tmp_path, zipped):
    path, marker = tmp_path / "c.pt", tmp_path / "marker"
    torch.save({**GOOD, "epoch": RunsACommand(marker)}, path, _use_new_zipfile_serialization=zipped)
    refusal(path)
    assert_checkpoint_armed(path, marker)


def test_a_checkpoint_with_a_whole_module_is_refused(tmp_path):
    torch.save({**GOOD, "net": nn.Linear(1, 1)}, tmp_path / "c.pt")
    assert "more than tensors and plain values" in refusal(tmp_path / "c.pt")


def test_keys_that_are_missing_or_of_another_type_are_all_named(tmp_path):
    saved(tmp_path, {"state_dict": [1], "best_acc": 0.5})
    message = refusal(tmp_path / "c.pt", {"state_dict": dict, "best_acc": float, "epoch": int})
    assert "state_dict (dict), best_acc (float), epoch (int)" in message
    assert message.endswith("missing or of another type: state_dict, epoch")


def test_a_checkpoint_that_is_no_dict_is_refused(tmp_path):
    torch.save([torch.zeros(1)], tmp_path / "c.pt")
    assert "expected a dict with state_dict (dict), epoch (int), found list" in refusal(tmp_path / "c.pt")


def test_a_missing_checkpoint_is_refused_by_name(tmp_path):
    assert "missing" in refusal(tmp_path / "c.pt")


@pytest.mark.parametrize("cut", [7, 30])
def test_a_whole_archive_with_a_cut_pickle_is_refused(tmp_path, cut):
    buffer = io.BytesIO()
    torch.save(GOOD, buffer)
    with zipfile.ZipFile(buffer) as whole, zipfile.ZipFile(tmp_path / "c.pt", "w") as damaged:
        for name in whole.namelist():
            damaged.writestr(name, whole.read(name)[: cut if name.endswith("data.pkl") else None])
    refusal(tmp_path / "c.pt")


def test_the_refusal_names_the_foreign_object_and_gives_no_advice_to_trust_it(tmp_path):
    torch.save({"net": nn.Linear(1, 1)}, tmp_path / "c.pt")
    message = refusal(tmp_path / "c.pt")
    assert "Linear" in message and "trust" not in message and "\x1b" not in message


@pytest.mark.parametrize("scalar", [np.float64(0.75), np.float32(0.75), np.int64(75)])
@pytest.mark.parametrize("module", [b"numpy._core", b"numpy.core"])  # of numpy 2, of numpy 1
def test_a_numpy_scalar_beside_the_weights_is_read(tmp_path, scalar, module):
    buffer = io.BytesIO()
    torch.save({**GOOD, "best_acc": scalar}, buffer)
    with zipfile.ZipFile(buffer) as archive, zipfile.ZipFile(tmp_path / "c.pt", "w") as rewritten:
        for name in archive.namelist():
            data = archive.read(name)
            rewritten.writestr(name, data.replace(b"numpy._core", module) if name.endswith("data.pkl") else data)
    state = checkpoints.read(tmp_path / "c.pt", expect=EXPECT).content
    assert state["best_acc"] == scalar and type(state["best_acc"]) is type(scalar)


def unfit(weights, module=None):
    module = module or nn.Linear(3, 2)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(UserError) as caught:
        checkpoints.load_weights(module, weights, path="some/file.pt")
    assert str(caught.value).startswith("some/file.pt: ")
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    return str(caught.value)


def test_weights_that_fit_are_loaded():
    module, weights = nn.Linear(3, 2), {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}
    checkpoints.load_weights(module, weights, path="some/file.pt")
    assert module(torch.ones(1, 3)).tolist() == [[3, 3]]


def test_weights_that_do_not_fit_name_the_file_and_each_key():
    message = unfit({"weight": torch.ones(3, 2), "extra": torch.ones(1)})
    assert "do not fit Linear" in message
    for part in ("missing bias", "unexpected extra", "weight is (3, 2), expected (2, 3)"):
        assert part in message
    assert "bias is list" in unfit({"weight": torch.ones(2, 3), "bias": [0.0, 0.0]})


def test_of_many_keys_that_do_not_fit_the_first_are_named_and_the_others_counted():
    extra = {f"extra{i}": torch.ones(1) for i in range(7)}
    message = unfit({"weight": torch.ones(2, 3), "bias": torch.zeros(2), **extra})
    assert "unexpected extra0; unexpected extra1 and 5 more" in message and "extra2" not in message


def test_unexpected_names_are_shown_beside_missing_ones():
    """So that a prefix which all names have is seen."""
    layers = nn.Sequential(*(nn.Linear(1, 1) for _ in range(5)))
    renamed = {f"backbone.{key}": value for key, value in layers.state_dict().items()}
    message = unfit(renamed, layers)
    assert "missing 0.weight; missing 0.bias; unexpected backbone.0.weight; unexpected " in message
    assert message.endswith("backbone.0.bias and 16 more")


def test_counters_of_batches_may_be_missing():
    norm = nn.BatchNorm1d(2)
    older = {key: value + 1 for key, value in norm.state_dict().items() if key != "num_batches_tracked"}
    wrapped = nn.Sequential(norm)
    checkpoints.load_weights(wrapped, {f"0.{key}": value for key, value in older.items()}, path="some/file.pt")
    assert norm.weight.tolist() == [2, 2]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value):
    message = unfit({"weight": torch.full((2, 3), value), "bias": torch.zeros(2)})
    assert "weights that are not finite: weight" in message


def test_an_ordered_dict_of_weights_is_plain(tmp_path):
    """torch writes state dicts as OrderedDict with an attribute; ours are plain, so the bytes say nothing of that."""
    ordered = collections.OrderedDict(w=torch.ones(1))
    assert saved(tmp_path, {"state_dict": ordered}) == saved(tmp_path, {"state_dict": {"w": torch.ones(1)}})


def test_a_checkpoint_carries_the_checksum_of_its_content(tmp_path):
    saved(tmp_path, GOOD)
    read = checkpoints.read(tmp_path / "c.pt", expect=EXPECT)
    assert read.checked and "checksum" not in read.content
    assert read.sha256 == storage.file_sha256(tmp_path / "c.pt")
    torch.save(GOOD, tmp_path / "other.pt")  # as others write them
    assert not checkpoints.read(tmp_path / "other.pt", expect=EXPECT).checked


@pytest.mark.parametrize("make", [lambda tensor: {"a": [tensor]}, lambda tensor: {"a": ({"b": tensor},)}])
def test_a_tensor_of_more_values_than_are_stored_is_refused_before_memory_is_asked_for(tmp_path, make):
    torch.save({**make(torch.zeros(1).expand(2**40)), "checksum": "0" * 64}, tmp_path / "c.pt")
    with pytest.raises(UserError, match=r"c\.pt: it holds a tensor of more values than are stored"):
        checkpoints.read(tmp_path / "c.pt", expect={})
    torch.save(make(torch.zeros(2, 3).T), tmp_path / "c.pt")
    checkpoints.read(tmp_path / "c.pt", expect={})


CONTENT = {"state_dict": {"w": torch.arange(8.0), "n": torch.tensor(3)}, "best_acc": 0.5, "epoch": 3, "t": (1, [None])}


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["state_dict"]["w"].__setitem__(3, torch.tensor(3.0).nextafter(torch.tensor(4.0))),
        lambda content: content["state_dict"].update(w=torch.arange(8.0, dtype=torch.float64)),
        lambda content: content["state_dict"].update(w=torch.arange(8.0).reshape(2, 4)),
        lambda content: content["state_dict"].update(n=torch.tensor([3])),
        lambda content: content["state_dict"].pop("n"),
        lambda content: content.update(epoch=3.0),
        lambda content: content.update(epoch="3"),
        lambda content: content.update(best_acc=0.25),
        lambda content: content.update(t=[1, [None]]),
        lambda content: content.update(t=(1, None)),
        lambda content: content.pop("best_acc"),
        lambda content: content.update(more=1),
        lambda content: content.update(checksum="0" * 64),
        lambda content: content.update(checksum=5),
    ],
)
def test_a_checkpoint_whose_content_was_changed_is_damaged(tmp_path, change):
    checkpoints.save(tmp_path / "c.pt", CONTENT)
    content = torch.load(tmp_path / "c.pt", weights_only=True)
    torch.save(content, tmp_path / "again.pt")
    assert checkpoints.read(tmp_path / "again.pt", expect={}).checked  # in other bytes, but the same
    change(content)
    torch.save(content, tmp_path / "again.pt")
    with pytest.raises(checkpoints.Damaged, match=r"again\.pt is damaged"):
        checkpoints.read(tmp_path / "again.pt", expect={})


@settings(max_examples=300)
@given(st.data())
def test_no_bit_of_a_checkpoint_can_turn_without_being_noticed(tmp_path_factory, data):
    """It is refused, or what it holds is the same."""
    folder = tmp_path_factory.mktemp("checkpoint")
    content = bytearray(saved(folder, CONTENT))
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    content[bit // 8] ^= 1 << bit % 8
    (folder / "c.pt").write_bytes(content)
    try:
        read = checkpoints.read(folder / "c.pt", expect={})
    except UserError as error:
        assert str(folder / "c.pt") in str(error)
    else:
        # of the entry's own name alone a bit may turn: then the file says nothing of a checksum
        assert checkpoints.checksum(read.content) == checkpoints.checksum(CONTENT) or not read.checked


@pytest.mark.parametrize(
    ("weight", "complaint"),
    [
        (torch.ones(2, 3, dtype=torch.complex64), "weight is torch.complex64, expected torch.float32"),
        (torch.ones(2, 3, dtype=torch.int8), "weight is torch.int8, expected torch.float32"),
        (torch.ones(2, 3, dtype=torch.bool), "weight is torch.bool, expected torch.float32"),
        (torch.ones(2, 3).to(torch.float8_e4m3fn), "weight is torch.float8_e4m3fn, expected torch.float32"),
        (torch.ones(2, 3).to_sparse(), "weight is torch.sparse_coo"),
        (torch.ones(2, 3, device="meta"), "weight is without values"),
        (torch.quantize_per_tensor(torch.ones(2, 3), 0.1, 0, torch.qint8), "weight is quantised"),
    ],
)
def test_weights_of_a_kind_that_the_network_has_not_are_refused(weight, complaint):
    assert complaint in unfit({"weight": weight, "bias": torch.zeros(2)})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_floating_type_are_taken(dtype):
    module = nn.Linear(3, 2)
    checkpoints.load_weights(module, {"weight": torch.ones(2, 3, dtype=dtype), "bias": torch.zeros(2)}, path="f.pt")
    assert module.weight.dtype == torch.float32 and module(torch.ones(1, 3)).tolist() == [[3, 3]]


def test_whether_weights_fit_is_found_before_memory_is_asked_for():
    with torch.device("meta"):
        module = nn.Linear(3, 2)
        checkpoints.load_weights(module, {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}, path="some/file.pt")
    assert module.weight.is_meta
    with pytest.raises(UserError, match="missing bias"):
        checkpoints.load_weights(module, {"weight": torch.ones(2, 3)}, path="some/file.pt")
    with pytest.raises(UserError, match="not finite: bias"):
        bad = {"weight": torch.ones(2, 3), "bias": torch.full((2,), math.nan)}
        checkpoints.load_weights(module, bad, path="some/file.pt")
