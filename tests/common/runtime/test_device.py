import platform
import shutil
import subprocess
import sys

import joblib
import pytest
import torch
from torch import nn

from common.runtime import device
from common.runtime.errors import UserError
from tests.common.formula import fill, images


@pytest.fixture
def machine(monkeypatch):
    """Says which devices this machine has."""

    def pretend(*, cuda, mps):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: int(cuda))
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return pretend


@pytest.mark.parametrize(("cuda", "mps", "best"), [(1, 1, "cuda"), (1, 0, "cuda"), (0, 1, "mps"), (0, 0, "cpu")])
def test_auto_takes_the_best_device_there_is(machine, cuda, mps, best):
    machine(cuda=bool(cuda), mps=bool(mps))
    assert device.resolve("auto").type == best


def test_a_device_that_is_there_is_taken_by_name(machine):
    machine(cuda=True, mps=True)
    assert [device.resolve(name).type for name in ("cuda", "mps", "cpu")] == ["cuda", "mps", "cpu"]


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_an_error_and_never_the_cpu(machine, name):
    machine(cuda=False, mps=False)
    with pytest.raises(UserError, match=f"--device {name}: .* use --device auto or cpu"):
        device.resolve(name)


def test_an_unknown_device_names_the_choices():
    with pytest.raises(UserError, match="'tpu': choose from auto, cuda, mps, cpu"):
        device.resolve("tpu")


def test_passes_on_the_cpu_have_one_size_and_smaller_images_larger_passes():
    cpu = torch.device("cpu")
    sizes = [device.pass_size(cpu, pixels=pixels) for pixels in (8 * 8, 16 * 16, 32 * 32, 64 * 64, 500 * 500)]
    assert all(size.least == size.most >= 1 for size in sizes)
    assert [size.least for size in sizes] == [256, 64, 16, 4, 1]


@pytest.mark.parametrize(
    ("free", "most"),
    [(0, 16), (2 * 50 * 64 * 2**20, 48), (2 * 63 * 64 * 2**20, 48), (2 * 64 * 64 * 2**20, 64), (2**50, 1024)],
)
def test_passes_on_a_gpu_are_what_half_of_its_free_memory_holds(monkeypatch, free, most):
    """64 MiB for each image of 32x32 pixels, in whole multiples of the least, and never less than it."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free - 2**20, 2 * free))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3 * 2**20)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 2 * 2**20)
    size = device.pass_size(torch.device("cuda"), pixels=32 * 32)
    assert size == (16, most, False)


@pytest.mark.parametrize(("wanted", "room"), [(1, 4), (4, 4), (5, 8), (9, 12), (12, 12), (500, 12)])
def test_a_pass_has_room_for_those_who_wait_in_whole_multiples(wanted, room):
    assert device.PassSize(4, 12).room([0] * wanted) == room


def test_a_query_on_a_cpu_is_given_what_it_needs_and_on_a_gpu_a_whole_pass(monkeypatch):
    size = device.query_size(torch.device("cpu"), pixels=32 * 32)
    assert [size.room(refused) for refused in ([0], [1], [2], [5], [40], [0] * 64, [3, 0, 2])] == [
        1,
        1,
        2,
        5,
        16,
        16,
        6,
    ]
    assert size.padded(3).tolist() == [0, 1, 2]
    monkeypatch.setattr(device, "pass_size", lambda *_, pixels: device.PassSize(16, 64))
    assert device.query_size(torch.device("cuda"), pixels=32 * 32) == device.PassSize(16, 64)


@pytest.mark.parametrize(("count", "rows"), [(1, [0, 0, 0]), (3, [0, 1, 2]), (4, [0, 1, 2, 3, 3, 3])])
def test_a_pass_that_is_not_full_gets_its_last_image_again(count, rows):
    assert device.PassSize(3, 9).padded(count).tolist() == rows


def test_an_accelerated_network_is_the_same_network_in_another_layout():
    network = fill(nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 4, 1)))
    x = images(2, 3, 8, 8)
    before, keys = network(x), list(network.state_dict())
    fast = device.accelerate(network)
    assert fast is network and list(network.state_dict()) == keys
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(network(x), before, rtol=1e-5, atol=1e-6)


def test_bf16_rounds_products_and_fp32_does_not():
    a, b = images(4, 4, 8, 8).flatten(1), images(3, 4, 8, 8).flatten(1)
    exact = a @ b.T
    with device.autocast(a.device, "fp32"):
        assert torch.equal(a @ b.T, exact)
    with device.autocast(a.device, "bf16"):
        rounded = a @ b.T
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), exact, rtol=2**-7, atol=0.0)


@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs a C++ compiler")
def test_a_compiled_network_gives_the_same_answers_to_rounding():
    network = fill(nn.Sequential(nn.Conv2d(3, 16, 3), nn.SiLU(), nn.Conv2d(16, 4, 1))).eval()
    x = images(2, 3, 8, 8)
    with torch.no_grad():
        before = network(x)
        torch.testing.assert_close(device.accelerate(network, compile=True)(x), before, rtol=1e-4, atol=1e-5)


def test_a_process_without_a_gpu_of_its_own_is_told_so(machine, monkeypatch):
    machine(cuda=True, mps=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert device.resolve("cuda") == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UserError, match=r"process 3 of this machine has no GPU, there are 2: use fewer \(--nproc\)"):
        device.resolve("auto")


PAGE_FAULTS_OF_TENSORS = """
import resource, sys, torch
from common.runtime import device
if sys.argv[1] == "kept":
    device.keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    [torch.ones(2**20) for _ in range(16)]  # each of 1,024 pages of 4 KiB, which glibc gives back when all are freed
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are glibc's")
def test_freed_memory_is_used_again():
    faults = {}
    for kind in ("as it starts", "kept"):
        command = [sys.executable, "-c", PAGE_FAULTS_OF_TENSORS, kind]
        faults[kind] = int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert faults["kept"] < faults["as it starts"]


@pytest.mark.parametrize(("cores", "threads", "given", "left"), [(1, 8, None, 1), (8, 2, None, 2), (1, 8, "8", 8)])
def test_threads_are_no_more_than_the_cores_of_this_process(monkeypatch, cores, threads, given, left):
    """As under a cgroup's limit, which torch does not know; who sets OMP_NUM_THREADS knows better."""
    now = [threads]
    monkeypatch.setattr(joblib, "cpu_count", lambda: cores)
    monkeypatch.setattr(torch, "get_num_threads", lambda: now[-1])
    monkeypatch.setattr(torch, "set_num_threads", now.append)
    if given is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    device.limit_threads()
    assert now[-1] == left
