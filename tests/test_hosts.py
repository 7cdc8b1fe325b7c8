"""Two hosts, network namespaces of this machine, at one piece of work with torchrun: one of them loses a process."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import miniature, served

PORT = 29500
COMMAND = ("train_defense.py", "--defense", "selena")
TEACHERS = "digits/final-all-models/resnet/selena.teachers"


def ip(*words: str) -> bool:
    return subprocess.run(["ip", *words], capture_output=True).returncode == 0


@pytest.fixture
def hosts() -> Iterator[dict[str, str]]:
    """Network namespaces by name, with their addresses; they see each other and nothing else."""
    if "TWO_HOSTS" not in os.environ:  # two processes that wait for each other bear no others beside them
        pytest.skip("only by `make hosts`, with nothing beside it")
    if os.name != "posix" or os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    names = {f"diffence-{os.getpid()}-{number}": f"10.77.0.{number}" for number in (1, 2)}
    try:
        if not all(ip("netns", "add", name) for name in names):
            pytest.skip("this machine lets nobody make network namespaces")
        first, second = names
        assert ip("link", "add", "eth0", "netns", first, "type", "veth", "peer", "name", "eth0", "netns", second)
        for name, address in names.items():
            assert ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            assert ip("-n", name, "link", "set", "eth0", "up") and ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            ip("netns", "del", name)


def torchrun(root: Path, host: str, address: str, *, first: str, output: Path) -> subprocess.Popen[bytes]:
    """One host's torchrun, as docs/cluster.md has it; on real hosts it finds by itself who is the first."""
    words = ["--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "1", "--rdzv-id", "test"]
    words += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"{first}:{PORT}", "--local-addr", address]
    words += ["--rdzv-conf", f"is_host={int(address == first)}"]
    with output.open("wb") as file:
        return subprocess.Popen(
            ["ip", "netns", "exec", host, sys.executable, "-m", "torch.distributed.run", *words, *COMMAND],
            cwd=root / "digits",
            env={**os.environ, "GLOO_SOCKET_IFNAME": "eth0", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def child_of(process: int) -> int:
    """The only child of a process."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
    (child,) = (number for number, parent in parents.items() if parent == process)
    return child


def models(root: Path) -> dict[str, bytes]:
    return {
        name: content for name, content in miniature.files_below(root / "digits").items() if name.endswith(".pth.tar")
    }


def test_a_process_of_two_hosts_is_killed_and_they_go_on_to_the_files_of_one(
    trained: Path, tmp_path: Path, hosts: dict[str, str]
) -> None:
    one, two = (Path(shutil.copytree(trained, tmp_path / name)) for name in ("one", "two"))
    for root in (one, two):
        miniature.shrink(root / "digits" / "configs" / "selena.yaml", {"epochs": 25})
        shutil.rmtree(root / TEACHERS, ignore_errors=True)
        (root / TEACHERS).with_name("selena.pth.tar").unlink(missing_ok=True)
    assert served.run(one, "digits", *COMMAND).returncode == 0

    first, outputs = next(iter(hosts.values())), [tmp_path / f"{host}.log" for host in hosts]
    agents = [
        torchrun(two, host, address, first=first, output=output)
        for (host, address), output in zip(hosts.items(), outputs, strict=True)
    ]
    try:
        progress = two / TEACHERS / "01.pth.tar.progress"  # of the second host's first teacher
        while not progress.exists():
            assert all(agent.poll() is None for agent in agents), [output.read_text() for output in outputs]
            time.sleep(0.01)
        lost = child_of(agents[1].pid)
        os.kill(lost, signal.SIGKILL)
        assert [agent.wait(timeout=120) for agent in agents] == [0, 0], [output.read_text() for output in outputs]
    finally:
        for agent in agents:
            agent.kill()
    assert models(two) == models(one)
    assert f"failed (exitcode: -9) local_rank: 0 (pid: {lost})" in outputs[1].read_text()  # on the host that lost it
