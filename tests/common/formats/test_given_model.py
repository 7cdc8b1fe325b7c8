"""A classifier of a file: TorchScript is read, and what holds weights alone is called that."""

import pytest
import torch

from common.formats import given_model
from common.runtime.errors import UserError


def test_torchscript_is_read_and_a_state_dict_is_said_to_hold_no_network(tmp_path):
    network, x = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 4)), torch.rand(2, 3, 2, 2)
    torch.jit.script(network).save(str(tmp_path / "scripted.pt"))
    found = given_model.load(str(tmp_path / "scripted.pt"), torch.device("cpu"))
    assert torch.equal(found(x), network(x))
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"weights\.pth: holds tensors by name and no network: give package\.module"):
        given_model.load(str(tmp_path / "weights.pth"), torch.device("cpu"))
