import contextlib
import math
import threading

import numpy as np
import pytest
import torch

from common import bank
from common.bank import BankStore
from common.diffence import EVERYWHERE, Diffence, Interval, select, take
from common.errors import UserError
from common.partition import Partition, Permutation, Role
from common.training import Labelled
from tests.common.formula import images

N, K = 3, 2


class _Spec:
    num_classes = K


class _Experiment:
    """40 members and 30 test samples of 4x4 pixels, all different."""

    spec = _Spec()
    generator = np.random.default_rng(0)
    partition = Partition(
        members=generator.permutation(50)[:40],
        validation=np.arange(0),
        reference=np.arange(0),
        test_order=generator.permutation(30),
        key="",
        permutation=Permutation("digits", np.arange(50), source="seed 0", sha256=None),
    )
    pixels = (images(80, 1, 4, 4) * 255).to(torch.uint8)

    def training_part(self, indices):
        return Labelled(self.pixels[:50][indices], torch.from_numpy(indices) % K)

    def test_part(self, indices):
        return Labelled(self.pixels[50:][indices], torch.from_numpy(indices) % K)


class _Denoiser(torch.nn.Module):
    """Shifts images a little, by their noise; counts what it is asked."""

    num_steps = 10

    def __init__(self):
        super().__init__()
        self.asked = 0

    def purify(self, x, noise, *, step, noising):
        self.asked += len(x)
        return (x + 0.1 * noise).clamp(0, 1)


@pytest.fixture
def store(tmp_path):
    fenced = Diffence(lambda x: 9 * x.flatten(1)[:, :K] - 4, _Denoiser(), num_candidates=N, step=1, batch_size=1)
    return BankStore(_Experiment(), fenced, tmp_path / "bank", group_size=8)


def role(members, test):
    return Role(_Experiment.partition.members[members], _Experiment.partition.test_order[test])


def whole(store, part, indices):
    """What the fence draws for these samples without a bank."""
    return store.fenced.candidates(part(indices).images.float() / 255)


def test_a_bank_holds_each_samples_candidates_in_the_roles_order(store):
    wanted = role(slice(5, 21), slice(0, 30))
    found = store.bank(wanted, until=None, desc="")
    assert torch.equal(found.members, whole(store, store.experiment.training_part, wanted.members))
    assert torch.equal(found.non_members, whole(store, store.experiment.test_part, wanted.non_members))
    assert found.member_labels.tolist() == [index % K for index in wanted.members]


def test_nothing_is_purified_twice_by_overlapping_roles_or_a_wider_interval(store):
    asked = store.fenced.denoiser
    narrow, wide = Interval(50.0, 60.0), EVERYWHERE  # nothing accepted, and the first that keeps the label
    store.bank(role(slice(0, 20), slice(0, 10)), until=wide, desc="")
    lazy = asked.asked
    assert 30 <= lazy < 30 * N
    store.bank(role(slice(0, 20), slice(0, 10)), until=wide, desc="")
    assert asked.asked == lazy
    store.bank(role(slice(10, 30), slice(5, 15)), until=narrow, desc="")
    store.bank(role(slice(0, 30), slice(0, 15)), until=None, desc="")
    assert asked.asked == 45 * N


def test_lazy_banks_answer_as_full_ones(store, tmp_path):
    wanted, interval = role(slice(3, 33), slice(2, 28)), Interval(0.2, 1.5)
    lazy = store.bank(wanted, until=interval, desc="")
    full = BankStore(store.experiment, store.fenced, tmp_path / "other", group_size=5).bank(wanted, until=None, desc="")
    assert lazy.members.isnan().any()
    assert np.array_equal(lazy.answers(interval).logits, full.answers(interval).logits)
    assert np.array_equal(lazy.answers(None).logits, full.answers(None).logits)
    assert lazy.raw_answer_rate(interval) == full.raw_answer_rate(interval)
    drawn = torch.cat([lazy.members, lazy.non_members])[:, :-1, 0].isfinite().sum(dim=1)  # one at a time in this test
    assert full.reconstructions_per_query(interval) == lazy.reconstructions_per_query(interval)
    assert full.reconstructions_per_query(interval) == float(drawn.double().mean())
    expected = take(full.members, select(full.members, interval))
    assert np.array_equal(full.answers(interval).logits[:30], expected.double().numpy())


def test_two_processes_share_the_groups_and_read_what_one_wrote(store, tmp_path, monkeypatch):
    wanted = role(slice(0, 40), slice(0, 30))
    alone = store.bank(wanted, until=EVERYWHERE, desc="")
    parts = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(bank.distributed, "barrier", lambda: None)
    both = BankStore(store.experiment, store.fenced, tmp_path / "both", group_size=8)
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        before = store.fenced.denoiser.asked
        # without a barrier the first finds the second one's share missing
        with pytest.raises(UserError) if rank == "0" else contextlib.nullcontext():
            shared = both.bank(wanted, until=EVERYWHERE, desc="")
        parts.append(store.fenced.denoiser.asked - before)
    assert min(parts) > 0  # each did its share, and the second found the first one's
    assert np.array_equal(shared.answers(EVERYWHERE).logits, alone.answers(EVERYWHERE).logits)


@pytest.mark.parametrize(
    "damage", ["truncated", "shape", "type", "hole", "infinite", "no raw", "object", "zip", "huge"]
)
def test_a_group_that_is_not_what_it_should_be_is_drawn_again(store, damage):
    wanted = role(slice(0, 8), slice(0, 1))
    first = store.bank(wanted, until=None, desc="")
    path = store.folder / "members-00000.npy"
    content = np.load(path)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-5])
    elif damage == "zip":
        np.savez(path.with_suffix(".npz"), content)
        path.with_suffix(".npz").rename(path)
    elif damage == "huge":
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (2**60,)})
    else:
        bad = {"shape": content[:, :-1], "type": content.astype(np.float64), "object": np.array([{}])}.get(damage)
        if bad is None:
            place, value = {"hole": (0, math.nan), "infinite": (1, math.inf), "no raw": (-1, math.nan)}[damage]
            content[2, place] = value
            bad = content
        np.save(path, bad)
    again = store.bank(wanted, until=None, desc="")
    assert torch.equal(again.members, first.members)


def test_a_bank_that_cannot_be_read_back_is_an_error_and_no_smaller_bank(store, monkeypatch):
    wanted = role(slice(0, 8), slice(0, 1))
    monkeypatch.setattr(bank.storage, "write_array", lambda path, array: path.parent.mkdir(exist_ok=True))
    with pytest.raises(UserError, match=r"members-00000\.npy cannot be read back"):
        store.bank(wanted, until=None, desc="")


def test_a_second_evaluation_waits_for_its_turn(store):
    wanted, order = role(slice(0, 8), slice(0, 1)), []

    def second():
        store.bank(wanted, until=None, desc="")
        order.append("second")

    with bank.storage.locked(store.folder / "lock"):
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(timeout=0.5)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]
