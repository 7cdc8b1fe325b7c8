import errno

import pytest

from common.runtime import ownership


class _NoLocks:
    LOCK_EX = LOCK_NB = 0

    @staticmethod
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")


@pytest.mark.parametrize(("fcntl", "reason"), [(_NoLocks, "No locks available"), (None, "this system has none")])
def test_where_there_are_no_locks_a_line_says_so_and_the_work_goes_on(tmp_path, monkeypatch, capsys, fcntl, reason):
    monkeypatch.setattr(ownership, "fcntl", fcntl)
    done = []
    with ownership.locked(tmp_path / "bank" / "lock"):
        done.append(1)
    said = capsys.readouterr().err
    assert done and said.count("\n") == 1 and reason in said and "start no second command" in said
