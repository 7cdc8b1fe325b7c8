import errno
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from common.runtime import ownership, storage
from common.runtime.errors import UserError
from tests.miniature import REPOSITORY


class _NoLocks:
    LOCK_EX = LOCK_NB = 0

    @staticmethod
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")


@pytest.mark.parametrize(("fcntl", "reason"), [(_NoLocks, "No locks available"), (None, "this system has none")])
def test_where_there_are_no_locks_a_line_says_so_and_the_work_goes_on(tmp_path, monkeypatch, capsys, fcntl, reason):
    monkeypatch.setattr(ownership, "fcntl", fcntl)
    ownership._warn.cache_clear()
    done = []
    for _ in range(2):
        with ownership.locked(tmp_path / "bank" / "model"):
            done.append(1)
    said = capsys.readouterr().err
    assert done == [1, 1] and said.count("\n") == 1 and reason in said and "start no second command" in said
    assert not list((tmp_path / "bank").iterdir())


OWNER = """
import sys, time
from pathlib import Path
from common.runtime import ownership
sys.argv = ["train_defense.py", "--defense", "selena"]
with ownership.locked(Path("model")):
    print("there", flush=True)
    time.sleep(60)
"""


def owner(folder):
    """Another process that has the model of the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "there\n"
    return process


def test_a_second_owner_waits_with_a_line_for_whom_and_a_killed_one_leaves_no_lock(tmp_path, capsys):
    first, entered = owner(tmp_path), []

    def second():
        with ownership.locked(tmp_path / "model"):
            entered.append(time.monotonic())

    waiting = threading.Thread(target=second)
    waiting.start()
    waiting.join(timeout=2 * ownership.SILENCE)
    assert not entered
    killed = time.monotonic()
    first.send_signal(signal.SIGKILL)
    waiting.join(timeout=10)
    assert entered and entered[0] >= killed
    said = capsys.readouterr().err
    wanted = rf"waiting for process {first.pid} on \S+ \(train_defense\.py --defense selena\), which has .*/model\n"
    assert re.fullmatch(wanted, said)
    assert not list(tmp_path.iterdir())


def test_who_has_waited_for_a_lock_that_is_gone_takes_a_new_one(tmp_path):
    """Else a third one would take it as well."""
    there = []

    def second():
        with ownership.locked(tmp_path / "model"):
            there.append((tmp_path / ".model.lock").exists())

    waiting = threading.Thread(target=second)
    with ownership.locked(tmp_path / "model"):
        waiting.start()
        waiting.join(timeout=2 * ownership.SILENCE)  # by now it waits in the system
    waiting.join(timeout=10)
    assert there == [True]


def test_of_many_owners_one_is_inside_at_a_time_and_nothing_is_left(tmp_path):
    inside, most = [], []

    def own():
        for _ in range(20):
            with ownership.locked(tmp_path / "model"):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=own) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 160 and not list(tmp_path.iterdir())


def test_owning_removes_what_killed_owners_left_half_written(tmp_path):
    storage.write_bytes(tmp_path / "model", b"old")
    left, progress, other = (f".{name}.{16 * 'a'}.tmp" for name in ("model", "model.progress", "other"))
    for name in (left, progress, other):
        (tmp_path / name).touch()
    with ownership.owned(tmp_path / "model", given=True):
        assert {path.name for path in tmp_path.glob("*.tmp")} == {progress, other}
    with ownership.owned(tmp_path / "model"):
        assert {path.name for path in tmp_path.glob("*.tmp")} == {other}
    assert {path.name for path in tmp_path.iterdir()} == {"model", other}


def test_a_lock_is_not_opened_through_a_link(tmp_path):
    foreign = tmp_path / "foreign"
    foreign.write_text("kept")
    (tmp_path / ".model.lock").symlink_to(foreign)
    with pytest.raises(UserError, match=r"\.model\.lock: a link"), ownership.locked(tmp_path / "model"):
        raise AssertionError("entered")
    assert foreign.read_text() == "kept" and (tmp_path / ".model.lock").is_symlink()


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_lock_is_a_file_and_nothing_else(tmp_path, make):
    make(tmp_path / ".model.lock")
    with pytest.raises(UserError, match=r"\.model\.lock: "), ownership.locked(tmp_path / "model"):
        raise AssertionError("entered")


def test_a_writer_does_not_follow_links_in_the_place_of_its_file(tmp_path):
    foreign = tmp_path / "foreign"
    foreign.write_text("kept")
    (tmp_path / "model").symlink_to(foreign)
    (tmp_path / ".model.tmp").symlink_to(foreign)
    storage.write_bytes(tmp_path / "model", b"new")
    assert foreign.read_text() == "kept" and (tmp_path / "model").read_bytes() == b"new"
    assert not (tmp_path / "model").is_symlink()
