import errno
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from common.cli import failures, flags
from common.cli.run import Work, run
from common.runtime import children
from common.runtime.errors import PeerStopped, Stopped, UserError
from tests import miniature


def outcome(error, capsys, *options, goes_on=True):
    """Exit status, and what is printed, of a command that ends in an error."""

    def fail():
        raise error

    status = run(flags.parser("some.py", ""), list(options), lambda _: Work(do=fail, goes_on=goes_on))
    return status, capsys.readouterr().err


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


FULL = OSError(errno.ENOSPC, "No space left on device", "digits/half.pt.progress")


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (FULL, 1, "digits/half.pt.progress: No space left on device"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), 1, "Disk quota exceeded"),
        (PermissionError(errno.EACCES, "Permission denied", "digits/data"), 1, "digits/data: Permission denied"),
        (MemoryError(), 1, "out of memory: lower batch_size"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"), 1, "out of memory: lower batch_size"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), 1, "out of memory"),
        (ZeroDivisionError("division by zero\nand more"), 3, "ZeroDivisionError: division by zero; this is a fault"),
        (AssertionError(), 3, "AssertionError: no message; this is a fault"),
    ],
)
def test_an_error_is_one_line_and_its_traceback_is_kept(tmp_path, capsys, error, status, line):
    found, said = outcome(error, capsys)
    assert found == status and said.count("\n") == 1
    assert said.startswith(f"error: {line}") and "Traceback" not in said
    (log,) = tmp_path.glob("diffence-*.log")
    assert str(log) in said and "Traceback" in log.read_text() and "in fail" in log.read_text()


def test_what_a_user_can_mend_needs_no_traceback(tmp_path, capsys):
    assert outcome(UserError("selena.pth.tar not found"), capsys) == (1, "error: selena.pth.tar not found\n")
    assert not list(tmp_path.iterdir())


def test_the_traceback_is_shown_where_it_is_asked_for(tmp_path, capsys):
    status, said = outcome(ZeroDivisionError("x"), capsys, "--traceback")
    assert status == 3 and "Traceback" in said and "in fail" in said and not list(tmp_path.iterdir())


def test_where_no_file_can_be_written_the_line_is_there_all_the_same(capsys, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere/at/all")
    status, said = outcome(FULL, capsys)
    assert status == 1 and said == "error: digits/half.pt.progress: No space left on device (--traceback shows where)\n"


def test_an_interruption_is_one_line(capsys):
    status, said = outcome(KeyboardInterrupt(), capsys)
    assert status == failures.INTERRUPTED == 130
    assert said == "interrupted: the same command goes on where this one stopped\n"
    assert outcome(KeyboardInterrupt(), capsys, goes_on=False) == (status, "interrupted\n")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_is_one_line_and_its_number_in_the_status(capsys, number, status):
    assert outcome(Stopped(number), capsys) == (
        status,
        "interrupted: the same command goes on where this one stopped\n",
    )


def test_ctrl_c_before_anything_is_begun_is_one_line():
    source = """
import os, signal
from common.cli import failures
signal.signal(signal.SIGINT, signal.default_int_handler)
with failures.nothing_begun():
    os.kill(os.getpid(), signal.SIGINT)
"""
    done = subprocess.run([sys.executable, "-c", source], cwd=miniature.REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, f"{failures.GOES_ON}\n")


LOST = RuntimeError("[../gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:12345")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), PeerStopped("another process has stopped"), LOST])
def test_where_a_launcher_speaks_for_all_its_processes_are_silent(capsys, monkeypatch, error):
    monkeypatch.setenv(children.LAST_WORDS, "/some/folder")
    status, said = outcome(error, capsys)
    assert status in (1, 130) and said == ""


def test_without_one_a_lost_process_is_said(capsys):
    status, said = outcome(PeerStopped("another process has stopped; it has said why"), capsys)
    assert status == 1 and said == "error: another process has stopped; it has said why\n"


def test_a_full_disk_leaves_nothing_half_written(trained, tmp_path):
    """A limit on the size of files stands for it."""
    root = shutil.copytree(trained, tmp_path / "copy")
    shutil.rmtree(root / "digits" / "diff_defense" / "diff_models")
    limited = "ulimit -f 8; exec python train_ddpm.py"
    done = miniature.run(root, "digits", "bash", "-c", f"trap '' XFSZ; {limited}".replace("python", "$PYTHON"))
    assert done.returncode == 1, done.stderr
    assert re.search(r"error: .*File too large \(traceback: .*\.log\)$", done.stderr.strip().splitlines()[-1])
    assert not list(Path(root / "digits" / "diff_defense" / "diff_models").glob("*half*"))
