"""Programs that a command runs: real ones, small."""

import io
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from common.runtime import children, progress
from tests.miniature import REPOSITORY


def start(tmp_path, source, **environment):
    """Start a Python program of some lines, with the project at hand."""
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(source))
    return subprocess.Popen(
        [sys.executable, script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # as a signal to the parent alone: a terminal is not meant
    )


PARENT = """
    import signal, sys
    from pathlib import Path
    from common.runtime import children
    from common.runtime.errors import Stopped

    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup ignores, and then no child is told of it
    with open("log", "wb") as log:
        try:
            status = children.run([sys.executable, "-c", {child!r}], cwd=Path.cwd(), env={{}}, log=log)
        except Stopped as stopped:
            sys.exit(f"stopped by {{stopped.number}}")
    sys.exit(status)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_passed_on_and_the_other_program_ends_first_in_silence(tmp_path, number):
    child = """
import os, signal, sys, time
def end(number, _):
    os.write(1, b"the child ends by %d" % number)
    sys.exit(7)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, end)
print(os.getpid(), flush=True)
time.sleep(60)
"""
    parent = start(tmp_path, PARENT.format(child=child))
    pid = int(parent.stdout.readline())
    parent.send_signal(number)
    out, err = parent.communicate(timeout=30)
    assert (out, err) == ("", f"stopped by {number}\n")
    assert (tmp_path / "log").read_text() == f"{pid}\nthe child ends by {number}"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(
    ("child", "status"), [("print('x')", 0), ("exit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137)]
)
def test_the_status_of_another_program_is_as_shells_have_it(tmp_path, child, status):
    parent = start(tmp_path, PARENT.format(child=child))
    assert parent.wait(timeout=30) == status


def test_a_signal_that_is_ignored_stays_so(tmp_path):
    """As under nohup."""
    child = "import time; print('there', flush=True); time.sleep(1)"
    source = PARENT.format(child=child).replace("signal.default_int_handler", "signal.SIG_IGN")
    parent = start(tmp_path, source)
    assert parent.stdout.readline() == "there\n"
    parent.send_signal(signal.SIGINT)
    assert parent.wait(timeout=30) == 0


LAUNCHER = """
    import sys
    from common.runtime import children
    sys.exit(children.launch(2, ["worker.py"], cores=2))
"""
WORKER = """
import os, sys, time
from common.runtime import children

rank = int(os.environ["RANK"])
children.remember_last_words(rank)
print("begun", flush=True)
print(f"\\rprocess {{rank}} works", end="", file=sys.stderr, flush=True)
{deed}
"""


def launched(tmp_path, deed):
    (tmp_path / "worker.py").write_text(WORKER.format(deed=deed))
    launcher = start(tmp_path, LAUNCHER)
    _, err = launcher.communicate(timeout=120)
    return launcher.returncode, err


def test_of_a_process_that_was_killed_it_is_said_which_it_was_and_its_last_line(tmp_path):
    status, err = launched(tmp_path, "os.kill(os.getpid(), 9) if rank == 1 else time.sleep(60)")
    assert status == 137
    *_, line = err.splitlines()
    assert line.startswith("error: process 2 of 2 (rank 1, pid ")
    assert ") was killed by SIGKILL; its last line: process 1 works. What is finished is kept" in line
    assert "torch" not in err


def test_of_a_process_that_failed_by_itself_the_status_is_passed_on_and_no_more_said(tmp_path):
    status, err = launched(tmp_path, "sys.exit(3) if rank == 0 else time.sleep(60)")
    assert status == 3 and "error" not in err and "torch" not in err


def test_last_words_are_found_after_a_kill(tmp_path):
    source = """
        import os, sys
        from common.runtime import children

        children.remember_last_words(4)
        print("a line")
        print("é" * 5000, file=sys.stderr)
        sys.stderr.write("half: 10%\\rhalf: 20%")
        os.kill(os.getpid(), 9)
    """
    start(tmp_path, source, **{children.LAST_WORDS: str(tmp_path)}).communicate(timeout=30)
    deadline = time.monotonic() + 5
    while not (tmp_path / "4").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert children._last_line(tmp_path / "4") == "half: 20%"
    assert children._last_line(tmp_path / "5") == ""


@pytest.mark.parametrize("terminal", [True, False])
def test_a_program_whose_output_goes_on_to_a_terminal_is_told(tmp_path, monkeypatch, capsys, terminal):
    monkeypatch.delenv(progress.TERMINAL, raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    code = "from common.runtime import progress; print(progress.on_terminal())"
    assert children.run([sys.executable, "-c", code], cwd=REPOSITORY, env=os.environ, log=io.BytesIO()) == 0
    assert capsys.readouterr().out == f"{terminal}\n"
