"""Bars on a terminal, lines elsewhere: what stands in a log, and how often."""

import fcntl
import os
import pty
import struct
import sys
import termios

import pytest

from common.runtime import progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    monkeypatch.delenv(progress.TERMINAL, raising=False)
    return Clock


def lines(capsys):
    return capsys.readouterr().err.splitlines()


def test_a_log_gets_a_line_a_minute_and_a_last_one(clock, capsys):
    with progress.bar(total=600, unit="step", desc="selena") as bar:
        for _ in range(600):
            clock.now += 0.5
            bar.update()
            bar.set_postfix({"loss": "0.5"})
    said = lines(capsys)
    assert [line.split(",")[0] for line in said] == [f"selena: {n}/600 step" for n in (120, 240, 360, 480, 600, 600)]
    assert said[0] == "selena: 120/600 step, 2 step/s, 04:00 left, loss 0.5"
    assert said[-1] == "selena: 600/600 step, 2 step/s, after 05:00, loss 0.5"


def test_what_was_done_before_does_not_count_as_speed(clock, capsys):
    with progress.bar(total=100, initial=90, unit="step", desc="x") as bar:
        clock.now += 60
        bar.update(5)
    assert lines(capsys) == [
        "x: 95/100 step, 12 s/step, 01:00 left",
        "x: 95/100 step, 12 s/step, 01:00 left",
    ]


def test_work_inside_other_work_speaks_only_when_it_is_long(clock, capsys):
    with progress.outer(total=2, unit="model", desc="all") as whole:
        for seconds in (1, 70):
            with progress.bar(total=2, unit="step", desc="one") as bar:
                clock.now += seconds
                bar.update(2)
            whole.update()
    assert [line.split(" ")[0] + line.split(" ")[1] for line in lines(capsys)] == [
        "one:2/2", "one:2/2", "all:2/2", "all:2/2",
    ]  # fmt: skip


def test_an_outer_bar_in_another_and_one_that_is_not_shown_are_silent(clock, capsys):
    with progress.outer(total=1, unit="item", desc="paper") as paper:
        with progress.outer(total=1, unit="fence", desc="fences") as fences:
            clock.now += 100
            fences.update()
        with progress.bar(total=1, unit="step", desc="mute", shown=False) as mute:
            clock.now += 100
            mute.update()
        paper.update()
    assert {line.split(":")[0] for line in lines(capsys)} == {"paper"}


def test_nothing_done_yet_has_no_speed():
    assert progress.told(0, 3, 9.0, initial=0, unit="model") == "0/3 model, no model yet, time left unknown"
    assert progress.told(0, 3, 0.0, initial=0, unit="model").endswith("time left unknown")


def _read(master):
    """What a terminal whose other end is closed still has to show; "" where that was all."""
    try:
        return os.read(master, 10000).decode()
    except OSError:  # so Linux says that nothing is left
        return ""


def test_a_terminal_gets_a_bar(monkeypatch):
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        assert progress.on_terminal()
        with progress.bar(total=3, unit="step", desc="x") as bar:
            bar.update(3)
    shown = "".join(iter(lambda: _read(master), ""))
    os.close(master)
    assert "100%" in shown and "3/3" in shown and "\r" in shown


def test_so_does_one_behind_a_pipe(monkeypatch):
    monkeypatch.setenv(progress.TERMINAL, "1")
    assert progress.on_terminal()
