"""Two real processes that share work out."""

import os
import subprocess
import sys
import textwrap

import pytest

from common.runtime import distributed
from common.runtime.sharing import share_out
from tests.miniature import REPOSITORY

BEGIN = """
    import sys, time
    from pathlib import Path
    from common.runtime import distributed
    from common.runtime.sharing import share_out

    def wait_for(name):
        end = time.monotonic() + 60
        while not Path(name).exists():
            assert time.monotonic() < end, name
            time.sleep(0.01)

    def share(count, work):
        share_out(range(count), work, unit="piece", desc="pieces")

    rank = distributed.rank()
    with distributed.processes():
"""
STORE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}  # as docs/cluster.md has it


def two(folder, source, *options):
    """Run some lines in two processes within ``distributed.processes``; options of torchrun."""
    script = folder / "program.py"
    script.write_text(textwrap.dedent(BEGIN) + textwrap.indent(textwrap.dedent(source), "    "))
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *options, script],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", **STORE},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_alone_a_process_does_every_piece_in_order():
    done = []
    share_out("abc", done.append, unit="piece", desc="")
    assert done == ["a", "b", "c"]
    assert list(distributed.claims(0)) == []


def test_who_is_free_takes_the_next_piece(tmp_path):
    """The first piece lasts until all others are done, so the process that has it does no other."""
    done = two(
        tmp_path,
        """
        def work(piece):
            assert distributed.world_size() == 1
            if piece == 0:
                for other in range(1, 6):
                    wait_for(f"done-{other}")
            Path(f"done-{piece}").open("x").write(str(distributed.local_rank()))
        share(6, work)
        assert len(list(Path().glob("done-*"))) == 6
        share(3, lambda piece: Path(f"again-{piece}").open("x"))
        assert len(list(Path().glob("again-*"))) == 3
        """,
    )
    assert done.returncode == 0, done.stderr
    by = [(tmp_path / f"done-{piece}").read_text() for piece in range(6)]
    assert len(set(by[1:])) == 1 and by[0] != by[1]


def test_nobody_waits_for_a_process_that_comes_later(tmp_path):
    done = two(
        tmp_path,
        """
        if rank == 0:
            wait_for("ahead")
        share(3, lambda piece: Path(f"done-{piece}").open("x"))
        share(0, None)
        Path("ahead").touch()
        """,
    )
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("done-*"))) == 3


@pytest.mark.parametrize("end", ["raise RuntimeError('mine')", "import os; os.kill(os.getpid(), 9)"])
def test_a_process_that_waits_ends_when_the_other_stops(tmp_path, end):
    done = two(
        tmp_path,
        f"""
        def work(piece):
            if piece == 1:
                {end}
        try:
            share(2, work)
        except BaseException as error:
            print(type(error).__name__, error, flush=True)
            raise
        Path("returned").touch()
        """,
    )
    assert done.returncode != 0
    assert not (tmp_path / "returned").exists()
    if "mine" in end:
        assert "RuntimeError mine" in done.stdout and "PeerStopped" in done.stdout


def test_processes_that_are_started_again_begin_to_count_anew(tmp_path):
    done = two(
        tmp_path,
        """
        def work(piece):
            if piece == 1 and not Path("failed").exists():
                Path("failed").touch()
                raise RuntimeError
            Path(f"done-{piece}").touch()
        share(4, work)
        assert len(list(Path().glob("done-*"))) == 4
        """,
        "--max-restarts=1",
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "failed").exists()
