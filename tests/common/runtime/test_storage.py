import errno
import json
import os
import signal

import numpy as np
import pytest

from common.runtime import storage


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def fail(*_):
    raise OSError("disk full")


def test_a_file_is_written_whole_and_its_folders_are_made(tmp_path):
    storage.write_bytes(tmp_path / "a" / "b" / "file", b"new")
    assert contents(tmp_path / "a" / "b") == {"file": b"new"}


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_failure_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, broken):
    storage.write_bytes(tmp_path / "file", b"old")
    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(OSError, match="disk full"):
        storage.write_bytes(tmp_path / "file", b"new")
    assert contents(tmp_path) == {"file": b"old"}


def test_what_the_system_refuses_is_told_with_the_file_that_was_to_be_written(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError) as caught:
        storage.write_bytes(tmp_path / "file", b"new")
    assert caught.value.filename == str(tmp_path / "file") and not contents(tmp_path)


def test_a_writer_that_fails_half_way_leaves_the_old_file_and_nothing_else(tmp_path):
    def write(file):
        file.write(b"half")
        fail()

    storage.write_bytes(tmp_path / "file", b"old")
    with pytest.raises(OSError, match="disk full"):
        storage.write_with(tmp_path / "file", write)
    assert contents(tmp_path) == {"file": b"old"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # fork in a process with threads: the child only writes
def test_a_kill_in_the_middle_leaves_the_old_file_and_a_leftover_that_is_swept_away(tmp_path):
    storage.write_bytes(tmp_path / "file", b"old")
    child = os.fork()
    if child == 0:
        os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
        storage.write_bytes(tmp_path / "file", b"new")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert (tmp_path / "file").read_bytes() == b"old"
    assert len(contents(tmp_path)) == 2
    storage.sweep(tmp_path / "file")
    assert contents(tmp_path) == {"file": b"old"}


def half_written(path, end="0123456789abcdef"):
    """What a writer of a path that was killed leaves, or a live one has."""
    return path.with_name(f".{path.name}.{end}.tmp")


def test_sweeping_takes_what_killed_writers_left_and_nothing_else(tmp_path):
    target = tmp_path / "results"
    target.mkdir()
    half_written(target).mkdir()
    (half_written(target) / "old").touch()
    kept = [tmp_path / name for name in ("results.tmp", ".results.tmp", "results/.hidden", "results/.a.backup.tmp")]
    kept += [
        half_written(tmp_path / "results2"),
        half_written(target, "0a"),
        half_written(target / "mine", "no-digits"),
    ]
    swept = [half_written(target / "report.json"), half_written(tmp_path / "results.log")]
    for path in [*kept, *swept]:
        path.touch()
    half_written(target, 16 * "a").symlink_to(kept[0])
    storage.sweep(target)
    assert sorted(path for path in tmp_path.rglob("*") if path != target) == sorted(kept)


def test_in_a_folder_that_a_user_named_and_beside_it_nothing_is_swept_but_its_own(tmp_path):
    target = tmp_path / "mine[1]"
    target.mkdir()
    kept = [half_written(path) for path in (target / "thesis", tmp_path / "mine[1].v2", tmp_path / "mine1")]
    for path in [*kept, half_written(target)]:
        path.touch()
    storage.sweep(target, given=True)
    assert sorted(path for path in tmp_path.rglob("*") if path != target) == sorted(kept)


def test_json_comes_back_and_refuses_what_is_no_json(tmp_path):
    content = {"auc": 0.5, "name": "é", "list": [1, None, True]}
    storage.write_json(tmp_path / "a.json", content)
    assert storage.read_json(tmp_path / "a.json") == content
    for number in (float("nan"), float("inf")):
        with pytest.raises(ValueError):
            storage.write_json(tmp_path / "a.json", {"auc": number})
    assert storage.read_json(tmp_path / "a.json") == content


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe{}", b'{"a": 1} x', b'{"a": NaN}', b"[" * 100_000])
def test_a_file_that_is_no_json_is_a_value_error(tmp_path, data):
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(ValueError):
        storage.read_json(tmp_path / "a.json")


def test_an_array_comes_back_and_one_of_objects_is_refused(tmp_path):
    array = np.arange(6.0).reshape(2, 3)
    storage.write_array(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), array)
    with pytest.raises(ValueError):
        storage.write_array(tmp_path / "b.npy", np.array([{}]))
    assert contents(tmp_path).keys() == {"a.npy"}


def test_staged_files_appear_together_and_spare_what_was_there(tmp_path):
    target = tmp_path / "results"
    storage.write_bytes(target / "other", b"kept")
    storage.write_bytes(target / "one", b"old")
    with storage.staged_folders(target) as (staging,):
        (staging / "one").write_bytes(b"1")
        (staging / "two").write_bytes(b"2")
        assert contents(target) == {"other": b"kept", "one": b"old"}
    assert contents(target) == {"other": b"kept", "one": b"1", "two": b"2"}
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_a_stage_that_fails_leaves_no_trace(tmp_path):
    with pytest.raises(OSError), storage.staged_folders(tmp_path / "results") as (staging,):
        (staging / "one").write_bytes(b"1")
        fail()
    assert list(tmp_path.iterdir()) == []


def test_digests_depend_on_the_content_and_not_on_the_order_of_keys():
    assert storage.digest({"a": 1, "b": [2]}) == storage.digest({"b": [2], "a": 1})
    assert storage.digest({"a": 1}) != storage.digest({"a": "1"})
    assert storage.digest([1, 2]) != storage.digest([2, 1])


def test_a_sha256_is_the_known_one(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert storage.file_sha256(tmp_path / "abc") == storage.bytes_sha256(b"abc") == known


def test_strict_json_has_no_tokens_that_other_readers_choke_on(tmp_path):
    storage.write_json(tmp_path / "a.json", {"ci": [0.1, 1e300]})
    json.loads((tmp_path / "a.json").read_text(), parse_constant=fail)
