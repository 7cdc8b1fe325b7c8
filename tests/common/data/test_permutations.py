import codecs
import pickle
import pickletools
import struct
import subprocess
import sys

import numpy as np
import pytest

from common.data import permutations
from common.data.config import DatasetConfig
from common.runtime import config, storage
from common.runtime.errors import UserError
from common.runtime.paths import REPOSITORY
from tests.common.hostile import RunsACommand, assert_armed

ORDER = np.random.RandomState(0).permutation(10)
SUFFIXES = (".npy", ".npz", ".pkl")


def write(path, array):
    if path.suffix == ".pkl":
        path.write_bytes(pickle.dumps(array, protocol=4))
    elif path.suffix == ".npz":
        np.savez(path, order=array)
    else:
        np.save(path, array)
    return path


def refusal(path):
    with pytest.raises(UserError) as caught:
        permutations.read_permutation(path, size=10)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint64, ">i8"])
def test_a_permutation_is_read_from_every_kind_of_file(tmp_path, suffix, dtype):
    read = permutations.read_permutation(write(tmp_path / f"order{suffix}", ORDER.astype(dtype)), size=10)
    assert read.dtype == np.int64
    assert np.array_equal(read, ORDER)


def test_a_pickle_written_by_numpy_1_is_read(tmp_path):
    """The published permutations: protocol 4, and the module's old name."""
    data = pickle.dumps(ORDER, protocol=4)
    old_name = data.replace(b"\x8c\x16numpy._core.multiarray", b"\x8c\x15numpy.core.multiarray")
    assert len(old_name) == len(data) - 1
    (frame,) = struct.unpack("<Q", data[3:11])
    (tmp_path / "cifar_shuffle.pkl").write_bytes(old_name[:3] + struct.pack("<Q", frame - 1) + old_name[11:])
    assert np.array_equal(permutations.read_permutation(tmp_path / "cifar_shuffle.pkl", size=10), ORDER)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("array", "part"),
    [
        (np.arange(9), "a permutation of 9 samples, but the training set has 10"),
        (np.zeros(10, dtype=np.int64), "not a permutation of 0 … 9"),
        (np.arange(1, 11), "not a permutation of 0 … 9"),
        (np.arange(10) - 1, "not a permutation of 0 … 9"),
        (np.arange(10.0), "expected a one-dimensional integer array, found float64"),
        (np.arange(10)[:, None], r"of shape (10, 1)"),
        (np.ones(10, dtype=bool), "found bool"),
        (np.arange(10).astype("U2"), "found <U2"),
    ],
)
def test_what_is_no_permutation_is_refused(tmp_path, suffix, array, part):
    assert part in refusal(write(tmp_path / f"order{suffix}", array))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_array_of_objects_is_refused(tmp_path, suffix):
    refusal(write(tmp_path / f"order{suffix}", ORDER.astype(object)))


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint16, ">i8"])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_permutation_is_read_from_every_pickle_protocol(tmp_path, protocol, dtype):
    path = tmp_path / "order.pkl"
    path.write_bytes(pickle.dumps(ORDER.astype(dtype), protocol=protocol))
    assert permutations.read_permutation(path, size=10).tolist() == ORDER.tolist()


class _Encodes:
    def __init__(self, *arguments):
        self.arguments = arguments

    def __reduce__(self):
        return codecs.encode, self.arguments


@pytest.mark.parametrize("arguments", [("x", "punycode"), (b"x", "hex"), ("x",)])
def test_a_pickle_encodes_nothing_but_the_bytes_of_old_protocols(tmp_path, arguments):
    path = tmp_path / "order.pkl"
    path.write_bytes(pickle.dumps(_Encodes(*arguments), protocol=2))
    assert "not a readable .pkl file" in refusal(path)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_with_a_command_is_refused_and_not_run(tmp_path, protocol):
    path, marker = tmp_path / "order.pkl", tmp_path / "marker"
    path.write_bytes(pickle.dumps(RunsACommand(marker), protocol=protocol))
    assert "system, which an integer array does not need" in refusal(path)
    assert_armed(path, marker)


class _Raw:
    """An array whose state, and that of its type, are as a file says."""

    def __init__(self, dtype, state):
        self.dtype, self.state = dtype, state

    def __reduce__(self):
        return np.empty(0).__reduce__()[0], (np.ndarray, (0,), b"b"), self.state


class _RawType:
    def __init__(self, name, state):
        self.arguments, self.state = (name, False, True), state

    def __reduce__(self):
        return np.dtype, self.arguments, self.state


def test_a_type_that_would_make_numbers_addresses_is_refused(tmp_path):
    """A type of raw bytes with a field of objects: numpy itself ends there with a signal."""
    fields = (("a",), {"a": (np.dtype(object), 0)})
    dtype = _RawType("V8", (3, "|", None, *fields, 8, 1, 1))
    path = tmp_path / "order.pkl"
    path.write_bytes(pickle.dumps(_Raw(dtype, (1, (10,), dtype, False, b"\x41" * 80))))
    read = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); from pathlib import Path; from common.data import "
    read += f"permutations; permutations.read_permutation(Path({str(path)!r}), size=10)"
    ended = subprocess.run([sys.executable, "-c", read], capture_output=True, text=True, check=False)
    assert ended.returncode == 1 and "UserError" in ended.stderr
    theirs = f"import pickle; print(pickle.load(open({str(path)!r}, 'rb')))"
    assert subprocess.run([sys.executable, "-c", theirs], capture_output=True, check=False).returncode < 0


@pytest.mark.parametrize(
    "state",
    [
        (1, (10,), np.dtype("i8"), False, b"\0" * 79),
        (1, (2**62,), np.dtype("i8"), False, b"\0" * 80),
        (1, (-1,), np.dtype("O"), False, b"\0" * 80),
        (1, 10, np.dtype("i8"), False, b"\0" * 80),
        (1, (10,), "i8", False, b"\0" * 80),
        (1, (10,), np.dtype("i8"), False, [0] * 10),
        (1, (10,)),
        7,
    ],
)
def test_an_array_whose_state_does_not_fit_is_refused(tmp_path, state):
    path = tmp_path / "order.pkl"
    path.write_bytes(pickle.dumps(_Raw(None, state)))
    assert "not a readable .pkl file" in refusal(path)


def test_a_command_inside_an_array_of_objects_is_refused_and_not_run(tmp_path):
    path, marker = tmp_path / "order.pkl", tmp_path / "marker"
    path.write_bytes(pickle.dumps(np.array([RunsACommand(marker)] * 10)))
    refusal(path)
    assert_armed(path, marker)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_command_in_a_file_of_numpy_is_refused_and_not_run(tmp_path, suffix):
    path, marker = tmp_path / f"order{suffix}", tmp_path / "marker"
    write(path, np.array([RunsACommand(marker)] * 10))
    refusal(path)
    assert not marker.exists()
    path.write_bytes(pickle.dumps(RunsACommand(marker)))
    refusal(path)
    assert_armed(path, marker)


@pytest.mark.parametrize("content", [[1, 2], "text", np.int64(3), {"a": ORDER}])
def test_a_pickle_of_anything_but_one_array_is_refused(tmp_path, content):
    (tmp_path / "order.pkl").write_bytes(pickle.dumps(content))
    assert "not a readable .pkl file" in refusal(tmp_path / "order.pkl")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_truncated_file_is_refused(tmp_path, suffix):
    path = write(tmp_path / f"order{suffix}", ORDER)
    data = path.read_bytes()
    for length in (0, 1, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        refusal(path)


def test_two_arrays_in_one_file_are_refused(tmp_path):
    np.savez(tmp_path / "order.npz", a=ORDER, b=ORDER)
    assert "expected one array, found 2" in refusal(tmp_path / "order.npz")


def test_another_kind_of_file_or_none_is_named(tmp_path):
    (tmp_path / "order.csv").touch()
    assert "expected a file ending in .npy, .npz, .pkl" in refusal(tmp_path / "order.csv")
    assert refusal(tmp_path / "order.npy").endswith("order.npy not found")


@pytest.mark.parametrize("size", [3, 50_000])  # the large one takes several frames
def test_a_permutation_is_written_as_numpy_1_wrote_it(size):
    order = np.random.RandomState(0).permutation(size)
    data = permutations.pickled(order.astype(np.int32))
    read = pickle.loads(data)
    assert read.dtype == np.int64 and np.array_equal(read, order)
    strings = [argument for _, argument, _ in pickletools.genops(data) if isinstance(argument, str)]
    assert data[1] == 4 and strings[:4] == ["numpy.core.multiarray", "_reconstruct", "numpy", "ndarray"]
    assert strings[4:] == ["dtype", "i8", "<"]
    assert permutations.pickled(order) == data


@pytest.fixture
def known(monkeypatch):
    """A dataset whose published permutation is ORDER, in a file that holds it in another encoding than ours."""
    data = pickle.dumps(ORDER, protocol=2)
    monkeypatch.setitem(
        permutations.PUBLISHED, "cifar10", permutations.PublishedPartition(storage.bytes_sha256(data), members=5)
    )
    return data


def is_published(order, dataset, sha256):
    return permutations.is_published(order, dataset=dataset, sha256=sha256)


def test_the_published_file_is_recognised_by_its_sha256(known):
    assert is_published(ORDER, "cifar10", storage.bytes_sha256(known)) is True
    assert is_published(ORDER, "cifar10", "0" * 64) is False
    assert is_published(ORDER, "cifar10", None) is False  # its encoding is not ours: it is not recognised
    assert is_published(ORDER, "digits", storage.bytes_sha256(known)) is None


def test_the_published_order_is_recognised_in_another_file_where_it_encodes_to_the_published_one(monkeypatch):
    sha256 = storage.bytes_sha256(permutations.pickled(ORDER))
    monkeypatch.setitem(permutations.PUBLISHED, "svhn", permutations.PublishedPartition(sha256, members=5))
    assert is_published(ORDER, "svhn", "0" * 64) is True
    assert is_published(ORDER, "svhn", None) is True
    assert is_published(ORDER[::-1], "svhn", None) is False


@pytest.mark.parametrize("dataset", permutations.PUBLISHED)
def test_the_default_partition_has_the_published_number_of_members(dataset):
    sizes = config.load(REPOSITORY / dataset / "configs" / "data.yaml", DatasetConfig)
    assert sizes.members == permutations.PUBLISHED[dataset].members
