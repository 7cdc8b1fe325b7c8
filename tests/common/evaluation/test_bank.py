import contextlib
import math
import threading

import numpy as np
import pytest
import torch

from common.diffence import EVERYWHERE, Candidates, Interval, answer
from common.diffence.candidates import NOTHING
from common.diffence.labels import LabelAlone
from common.evaluation.answers import Asked
from common.evaluation.bank import Part
from common.runtime import distributed, ownership, storage
from common.runtime.errors import UserError
from tests.common.evaluation.population import POPULATION, K, N, bank, role


@pytest.fixture
def store(tmp_path):
    return bank(tmp_path / "bank")


def draw(store, wanted, *, until):
    return store.draw(POPULATION.parts(wanted), until=until, desc="")


def same(first, second):
    """The same candidates are there, and they have the same bits."""
    there = torch.arange(N + 1) < first.drawn[:, None]
    there[:, -1] = True
    return torch.equal(first.drawn, second.drawn) and torch.equal(first.logits[there], second.logits[there])


def test_a_bank_holds_each_samples_candidates_in_the_order_of_the_parts(store):
    wanted = role(slice(5, 21), slice(0, 30))
    found = draw(store, wanted, until=None)
    images = torch.cat([part.images for part in POPULATION.parts(wanted)]).float() / 255
    expected = store.fence.candidates(images)  # without a bank
    assert torch.equal(found.logits, expected.logits) and (found.drawn == N).all()
    assert sorted(path.name for path in store.folder.glob("*.npy")) == [
        "members-00000.npy",
        "members-00001.npy",
        "members-00002.npy",
        *(f"test-0000{number}.npy" for number in range(4)),
    ]


def test_what_is_stored_has_the_labels_of_a_double_precision_classifier(store):
    store.fence.classifier = lambda x: torch.tensor([[0.5, 0.5 + 1e-12]], dtype=torch.float64).expand(len(x), 2)
    first, again = (draw(store, role(slice(0, 4), slice(0, 4)), until=None) for _ in range(2))
    assert first.logits.dtype == torch.float64 and again.logits.dtype == torch.float32
    assert (first.logits.argmax(dim=2) == 1).all() and (again.logits.argmax(dim=2) == 1).all()


def test_for_a_label_alone_nothing_is_purified(store):
    first, again = (draw(store, role(slice(0, 4), slice(0, 4)), until=LabelAlone(3.0)) for _ in range(2))
    assert store.fence.denoiser.asked == 0 and same(first, again)
    assert (Asked.of(again, LabelAlone(3.0), work="lazy").work == 0).all()


def test_nothing_is_purified_twice_by_overlapping_roles_or_a_wider_interval(store):
    denoiser = store.fence.denoiser
    narrow, wide = Interval(50.0, 60.0), EVERYWHERE  # nothing accepted, and the first that keeps the label
    draw(store, role(slice(0, 20), slice(0, 10)), until=wide)
    lazy = denoiser.asked
    assert 30 <= lazy < 30 * N
    draw(store, role(slice(0, 20), slice(0, 10)), until=wide)
    assert denoiser.asked == lazy
    draw(store, role(slice(10, 30), slice(5, 15)), until=narrow)
    draw(store, role(slice(0, 30), slice(0, 15)), until=None)
    assert denoiser.asked == 45 * N


@pytest.mark.parametrize("fewer_first", [True, False])
def test_fences_that_differ_in_n_alone_share_a_bank(tmp_path, fewer_first):
    wanted = role(slice(3, 33), slice(2, 28))
    few, many = (bank(tmp_path / "shared", num_candidates=count, capacity=N) for count in (2, N))
    draws = {id(few): None, id(many): Interval(0.2, 1.5)}
    order = [few, many] if fewer_first else [many, few]
    found = {id(store): draw(store, wanted, until=draws[id(store)]) for store in order}
    for store, count in ((few, 2), (many, N)):
        alone = bank(tmp_path / f"alone {count}", num_candidates=count)
        expected, interval = draw(alone, wanted, until=draws[id(store)]), Interval(0.2, 1.5)
        assert torch.equal(answer(found[id(store)], interval).logits, answer(expected, interval).logits)
    asked = [store.fence.denoiser.asked for store in order]
    drawn = draw(many, wanted, until=draws[id(many)]).drawn
    assert sum(asked) == drawn.clamp(min=2).sum()  # nothing twice


def test_a_bank_has_room_for_the_candidates_of_its_fence(tmp_path):
    with pytest.raises(ValueError, match="capacity 2: the fence has 3 candidates"):
        bank(tmp_path, num_candidates=3, capacity=2)


def test_lazy_banks_hold_what_answers_as_full_ones(store, tmp_path):
    wanted, interval = role(slice(3, 33), slice(2, 28)), Interval(0.2, 1.5)
    lazy = draw(store, wanted, until=interval)
    full = draw(bank(tmp_path / "other", group_size=5), wanted, until=None)
    assert (lazy.drawn < N).any()
    assert torch.equal(answer(lazy, interval).logits, answer(full, interval).logits)


def test_in_one_process_a_group_is_written_once_and_not_read_back(store, monkeypatch):
    written, opened = [], []
    write, read = storage.write_array, np.lib.format.read_array
    monkeypatch.setattr(storage, "write_array", lambda path, array: (written.append(path.name), write(path, array)))
    monkeypatch.setattr(
        np.lib.format, "read_array", lambda file, **options: opened.append(file) or read(file, **options)
    )
    wanted = role(slice(0, 16), slice(0, 8))
    first = draw(store, wanted, until=EVERYWHERE)
    groups = ["members-00000.npy", "members-00001.npy", "test-00000.npy"]
    assert written == groups and opened == []
    assert same(draw(store, wanted, until=EVERYWHERE), first)
    assert written == groups and len(opened) == len(groups)  # nothing was missing: read once, not written


def test_a_file_is_one_array_that_numpy_reads(store):
    found = draw(store, role(slice(0, 6), slice(0, 1)), until=EVERYWHERE)
    array = np.load(store.folder / "members-00000.npy")
    assert array.shape == (8, N + 1, K) and array.dtype == np.float32
    assert np.isnan(array[6:]).all()  # which nobody asked for
    for row, drawn in enumerate(found.drawn[:6].tolist()):
        assert np.array_equal(array[row, :drawn], found.logits[row, :drawn])
        assert np.array_equal(array[row, -1], found.logits[row, -1])
        assert np.isnan(array[row, drawn:-1]).all()


def test_two_processes_share_the_groups_and_read_what_one_wrote(store, tmp_path, monkeypatch):
    wanted = role(slice(0, 40), slice(0, 30))
    alone = draw(store, wanted, until=EVERYWHERE)
    parts = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(distributed, "barrier", lambda: None)
    both = bank(tmp_path / "both")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        before = both.fence.denoiser.asked
        # without a barrier the first finds the second one's share missing
        with pytest.raises(UserError) if rank == "0" else contextlib.nullcontext():
            shared = draw(both, wanted, until=EVERYWHERE)
        parts.append(both.fence.denoiser.asked - before)
    assert min(parts) > 0  # each did its share, and the second found the first one's
    assert same(shared, alone)


DAMAGES = [
    *(
        "truncated",
        "empty",
        "longer",
        "one bit",
        "zeros without a seal",
        "a neighbour",
        "of another bank",
        "zip",
        "huge",
    ),
    *("shape", "type", "hole", "infinite", "half a candidate", "no raw"),  # these with a seal that fits
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_group_that_is_not_what_was_written_in_its_place_is_drawn_again(store, damage, capsys):
    wanted = role(slice(0, 16), slice(0, 1))
    first = draw(store, wanted, until=None)
    asked = store.fence.denoiser.asked
    spoil(store.folder / "members-00000.npy", damage)
    assert same(draw(store, wanted, until=None), first)
    assert store.fence.denoiser.asked == asked + 8 * N
    assert "members-00000.npy is drawn anew" in capsys.readouterr().err


def spoil(path, damage):
    content, data = np.load(path), path.read_bytes()
    cut = {"truncated": data[:-5], "empty": b"", "longer": data + b"x", "a neighbour": _neighbour(path).read_bytes()}
    if damage in cut:
        path.write_bytes(cut[damage])
    elif damage == "one bit":
        path.write_bytes(data[:200] + bytes([data[200] ^ 1]) + data[201:])
    elif damage == "zeros without a seal":
        np.save(path, np.zeros_like(content))
    elif damage == "of another bank":
        storage.write_array(path.parent.parent / "another" / path.name, content + 1)
        path.write_bytes((path.parent.parent / "another" / path.name).read_bytes())
    elif damage == "zip":
        np.savez(path.with_suffix(".npz"), content)
        path.with_suffix(".npz").rename(path)
    elif damage == "huge":
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (2**60,)})
    else:
        bad = {"shape": content[:, :-1], "type": content.astype(np.float64)}.get(damage)
        if bad is None:
            places = {"hole": (0,), "infinite": (1,), "half a candidate": (2, 1), "no raw": (-1,)}[damage]
            content[2][places] = math.inf if damage == "infinite" else math.nan
            bad = content
        storage.write_array(path, bad)


def _neighbour(path):
    return path.with_name("members-00001.npy")


def test_a_group_that_another_process_failed_to_write_is_an_error_and_no_smaller_bank(store, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(distributed, "barrier", lambda: None)
    with pytest.raises(UserError, match=r"members-00000\.npy cannot be read back"):
        draw(store, role(slice(0, 8), slice(0, 1)), until=None)


def test_a_second_evaluation_waits_for_its_turn(store):
    wanted, order = role(slice(0, 8), slice(0, 1)), []

    def second():
        draw(store, wanted, until=None)
        order.append("second")

    with ownership.locked(store.folder):
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(timeout=0.5)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]


def test_the_last_group_of_a_list_is_as_long_as_the_list(store):
    images = POPULATION.train.images[:2]
    found = store.draw([Part("few", 10, np.array([7, 9]), images)], until=None, desc="")
    assert torch.equal(found.logits, store.fence.candidates(images.float() / 255).logits)
    assert [np.load(store.folder / f"few-0000{number}.npy").shape[0] for number in (0, 1)] == [8, 2]


def test_of_samples_nobody_asked_for_nothing_is_there(store):
    """A role that reaches into a group later finds it as it is, and adds its own."""
    first = draw(store, role(slice(0, 3), slice(0, 1)), until=EVERYWHERE)
    both = draw(store, role(slice(0, 8), slice(0, 1)), until=EVERYWHERE)
    assert same(both[:3], first[:3]) and (both.drawn > NOTHING).all()
    assert isinstance(both, Candidates) and len(both) == 9
