import itertools

import numpy as np
import torch

from common.diffence.noise import candidate_noise
from common.runtime import rng

KEYS = [b"first", b"second", b"third"]
SHAPE = torch.Size([1, 5, 5])


def test_names_whose_seeds_share_32_bits_still_give_different_noise():
    seen: dict[int, bytes] = {}
    for number in range(300_000):
        key = number.to_bytes(4, "little")
        low = rng.derive_seed(0, "candidate noise", key, 0) & 0xFFFFFFFF
        if low in seen:
            break
        seen[low] = key
    first, second = candidate_noise([(seen[low], 0), (key, 0)], torch.Size([1, 8, 8]), seed=0)
    assert not torch.equal(first, second)


def noise_grid(keys, count, shape, *, seed):
    """The noise of candidates 0 … count - 1 of every key: [keys, count, *shape]."""
    draws = [(key, j) for key in keys for j in range(count)]
    return candidate_noise(draws, shape, seed=seed).unflatten(0, (len(keys), count))


def test_the_noise_of_a_candidate_depends_on_seed_key_and_number_alone():
    noise = noise_grid(KEYS, 4, SHAPE, seed=1)
    assert noise.shape == (3, 4, 1, 5, 5) and noise.dtype == torch.float32
    assert torch.equal(noise_grid(KEYS, 2, SHAPE, seed=1), noise[:, :2])
    assert torch.equal(noise_grid(KEYS[::-1], 4, SHAPE, seed=1), noise.flip(0))
    assert torch.equal(noise_grid(KEYS[1:2], 4, SHAPE, seed=1), noise[1:2])
    torch.manual_seed(99)
    state = torch.random.get_rng_state()
    assert torch.equal(noise_grid(KEYS, 4, SHAPE, seed=1), noise)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_noise_is_numpys_philox_by_name():
    """Every stored result hangs on this: a change of the generator must be meant."""
    noise = noise_grid(KEYS, 4, SHAPE, seed=1)
    named = np.random.Philox(key=rng.derive_seed(1, "candidate noise", b"second", 3))
    expected = np.random.Generator(named).standard_normal((1, 5, 5), dtype=np.float32)
    assert np.array_equal(noise[1, 3], expected)


def test_seed_key_and_number_all_change_the_noise():
    noise = [
        *noise_grid(KEYS, 4, SHAPE, seed=1).flatten(0, 1),
        *noise_grid(KEYS, 4, SHAPE, seed=2)[0],
    ]
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(noise, 2))


def test_noise_is_standard_normal_and_candidates_are_uncorrelated():
    keys = [bytes([i]) for i in range(40)]
    noise = noise_grid(keys, 5, torch.Size([3, 16, 16]), seed=0).double().transpose(0, 1).flatten(1)  # [5, n]
    n = noise.shape[1]
    np.testing.assert_allclose(noise.mean(dim=1), 0, atol=5 / n**0.5)
    np.testing.assert_allclose(torch.cov(noise), np.eye(5), atol=5 * (2 / n) ** 0.5)
    np.testing.assert_allclose((noise.abs() < 1).double().mean(dim=1), 0.6827, atol=0.01)
