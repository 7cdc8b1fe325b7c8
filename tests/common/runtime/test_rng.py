import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.runtime import rng

parts = st.lists(st.one_of(st.integers(), st.text("ab:1", max_size=3), st.binary(max_size=3)), max_size=4)


@given(parts, parts)
def test_different_names_give_different_seeds(first, second):
    if list(map(repr, first)) != list(map(repr, second)):
        assert rng.derive_seed(*first) != rng.derive_seed(*second)


def test_type_position_and_concatenation_all_count():
    names = [(1, 2), (2, 1), (12,), ("1", 2), (b"1", 2), ("12",), (1, "2"), (1, 2, ""), ("", 1, 2), ("int:1:1",), ()]
    seeds = [rng.derive_seed(*name) for name in names]
    assert len(set(seeds)) == len(names)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_seeds_are_those_of_the_documented_digest():
    """Every stored result hangs on this: a change of the derivation must be meant."""
    digest = hashlib.blake2b(b"int:1:7str:5:noisebytes:2:ab", digest_size=8).digest()
    assert rng.derive_seed(7, "noise", b"ab") == int.from_bytes(digest, "little") // 2


def test_equal_names_give_equal_draws_and_the_global_generators_say_nothing():
    torch.manual_seed(0)
    np.random.seed(0)
    first = torch.randn(5, generator=rng.torch_generator(1, "x")), rng.numpy_generator(1, "x").normal(size=5)
    torch.manual_seed(1)
    np.random.seed(1)
    again = torch.randn(5, generator=rng.torch_generator(1, "x")), rng.numpy_generator(1, "x").normal(size=5)
    assert torch.equal(first[0], again[0]) and np.array_equal(first[1], again[1])
    assert not torch.equal(first[0], torch.randn(5, generator=rng.torch_generator(2, "x")))
    assert not np.array_equal(first[1], rng.numpy_generator(2, "x").normal(size=5))


def test_global_draws_are_named_within_the_block_and_leave_no_trace_after_it():
    def drawn(name):
        with rng.global_draws(name):
            return torch.randn(3)

    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first = drawn("a")
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.randn(10)
    assert torch.equal(drawn("a"), first)
    assert not torch.equal(drawn("b"), first)


def test_global_draws_restore_the_generator_when_the_block_fails():
    before = torch.random.get_rng_state()
    with pytest.raises(KeyError), rng.global_draws("a"):
        torch.randn(3)
        raise KeyError
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_key_of_a_sample_is_its_pixels_and_nothing_else():
    image = torch.linspace(0, 1, 48).reshape(3, 4, 4)
    same = [
        image.clone(),
        image.double(),
        image.permute(2, 1, 0).contiguous().permute(2, 1, 0),
        image.where(image > 0, -0.0),
        image.requires_grad_(),
    ]
    assert {rng.sample_key(other) for other in same} == {rng.sample_key(image)}


@given(st.integers(0, 254), st.floats(-0.49, 0.49))
def test_a_pixel_one_level_of_256_apart_is_another_key_and_less_than_half_is_not(level, part):
    image = torch.full((1, 4, 4), level / 255)
    for value, same in ((max(0.0, level + part), True), (level + 1, False)):
        other = image.clone()
        other[0, 2, 2] = value / 255
        assert (rng.sample_key(image) == rng.sample_key(other)) is same
