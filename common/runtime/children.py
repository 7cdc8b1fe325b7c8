"""Programs that this one runs and waits for: one with its output shown and kept, or several that work together.

Signals that end this program are passed on first, so that nothing goes on behind its back.
"""

import io
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from common.runtime import progress
from common.runtime.errors import Stopped

LAST_WORDS = "DIFFENCE_LAST_WORDS"  # names, in the processes of a launch, the folder that keeps what each said last
PASSED_ON = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
NEWLINE = "\n"
KILLED = 128  # and the number of the signal: the exit status of what a signal ended, as shells have it


def run(command: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: IO[bytes]) -> int:
    """Run a program, its output on standard output and in the log; its exit status.

    Raises Stopped where this program got a signal to end: after the other one has ended by it, in silence.
    """
    with subprocess.Popen(
        command,
        cwd=cwd,
        env={**env, **({progress.TERMINAL: "1"} if sys.stdout.isatty() else {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        process_group=0 if os.name == "posix" else None,  # else a terminal would send Ctrl-C to it as well
    ) as process:
        assert process.stdout is not None
        shown = b"\n"
        with _passing_on(process) as signals:
            while chunk := os.read(process.stdout.fileno(), 65536):
                log.write(chunk)
                if not signals:
                    shown = chunk
                    sys.stdout.buffer.write(shown)
                    sys.stdout.buffer.flush()
            status = process.wait()
    if signals:
        if not shown.endswith(b"\n"):
            print()  # after a bar
        raise Stopped(signals[0])
    return status if status >= 0 else KILLED - status


@contextmanager
def _passing_on(process: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """Within the block the signals that would end this program go to another one; they are listed."""
    signals: list[int] = []

    def pass_on(number: int, _: object) -> None:
        signals.append(number)
        process.send_signal(number)

    heeded = [number for number in PASSED_ON if signal.getsignal(number) != signal.SIG_IGN]  # nohup ignores SIGHUP
    before = {number: signal.signal(number, pass_on) for number in heeded}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def launch(nproc: int, program: Sequence[str], *, cores: int, module: bool = False) -> int:
    """Run a Python script, or a module, with its arguments in so many processes on this machine; its exit status.

    Of a process that a signal has killed a line says which it was and what it said last. Raises Stopped where this
    program got a signal to end.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import get_args_parser, run

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // nproc)))  # torchrun's own is 1
    options = ["--standalone", f"--nproc-per-node={nproc}", *(["--module"] if module else [])]
    with tempfile.TemporaryDirectory(prefix="diffence-") as words:
        os.environ[LAST_WORDS] = words
        logging.disable()  # torchrun's own, a page for each failure
        try:
            run(get_args_parser().parse_args([*options, "--", *program]))
        except ChildFailedError as error:
            return _failure(error.failures, nproc, Path(words))
        except SignalException as error:
            raise Stopped(error.sigval) from None
        finally:
            logging.disable(logging.NOTSET)
            del os.environ[LAST_WORDS]
    return 0


def _failure(failures: Mapping[int, Any], nproc: int, words: Path) -> int:
    """The exit status of a launch that failed. What a process could say itself it has said."""
    killed = {rank: -each.exitcode for rank, each in failures.items() if each.exitcode < 0}
    by_itself = {rank: number for rank, number in killed.items() if number != signal.SIGTERM}  # which torchrun sends
    if not killed or (not by_itself and len(killed) < len(failures)):
        return max(each.exitcode for each in failures.values())
    rank, number = next(iter((by_itself or killed).items()))
    last, begun = _last_line(words / str(rank)), _words(words / "0")
    which = f"process {rank + 1} of {nproc} (rank {rank}, pid {failures[rank].pid})"
    said = f"; its last line: {last}" if last else ""
    print(
        f"{'' if begun.endswith(NEWLINE) else NEWLINE}error: {which} was killed by "
        f"{signal.Signals(number).name}{said}. "
        "What is finished is kept: the same command goes on where this one stopped",
        file=sys.stderr,
    )
    return KILLED + number


def _words(path: Path) -> str:
    """What a process printed last; nothing where it printed nothing."""
    return path.read_text(encoding="utf-8", errors="replace").rstrip("\0") if path.is_file() else ""


def _last_line(path: Path) -> str:
    return next((line.strip() for line in reversed(_words(path).replace("\r", "\n").split("\n")) if line.strip()), "")


class _Remembered(io.TextIOBase):
    """A stream whose last words are in a file too, where they are found even if the process is killed."""

    def __init__(self, stream: Any, file: int) -> None:
        self.stream, self.file, self.words = stream, file, ""

    def write(self, text: str) -> int:
        self.words = (self.words + text)[-1000:]
        os.pwrite(self.file, self.words.encode(errors="replace").ljust(4000, b"\0"), 0)
        return int(self.stream.write(text))

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return str(self.stream.encoding)

    @property
    def buffer(self) -> Any:
        """For bytes, which are passed on and not kept."""
        return self.stream.buffer

    def flush(self) -> None:
        self.stream.flush()

    def isatty(self) -> bool:
        return bool(self.stream.isatty())

    def fileno(self) -> int:
        return int(self.stream.fileno())


def remember_last_words(rank: int) -> None:
    """In a process of a launch: keep what it prints last where ``launch`` finds it."""
    folder = os.environ.get(LAST_WORDS)
    if folder and Path(folder).is_dir():
        file = os.open(Path(folder) / str(rank), os.O_RDWR | os.O_CREAT, 0o600)
        sys.stdout, sys.stderr = _Remembered(sys.stdout, file), _Remembered(sys.stderr, file)
