import pytest
import torch

from common import device
from common.errors import UserError


@pytest.fixture
def machine(monkeypatch):
    """Says which devices this machine has."""

    def pretend(*, cuda, mps):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
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
