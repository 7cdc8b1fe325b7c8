import numpy as np
import pytest
import torch

from common.evaluation.queries import changed

IMAGES = (torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 255).to(torch.uint8)
IMAGES[0, 0, 0, 0] = 255


def test_a_near_copy_differs_by_one_grey_level_at_one_pixel_and_each_at_another():
    copies = torch.stack([changed(IMAGES, "near_copy", number, seed=0) for number in range(63)])
    differences = copies.int() - IMAGES.int()
    assert (differences.abs().flatten(2).sum(dim=2) == 1).all()
    places = differences.flatten(2).ne(0).int().argmax(dim=2)
    assert (places == torch.arange(63)[:, None]).all()
    assert copies[0, 0, 0, 0, 0] == 254  # which was white


@pytest.mark.parametrize("kind", ["noise_5", "noise_20"])
def test_noise_has_its_deviation_and_depends_on_seed_number_and_image_alone(kind):
    grey = torch.full((2, 1, 64, 64), 128, dtype=torch.uint8)
    grey[1, 0, 0, 0] = 127
    noisy = changed(grey, kind, 3, seed=7)
    deviation = int(kind.removeprefix("noise_")) / 100
    assert noisy.double().std() / 255 == pytest.approx(deviation, rel=0.03)
    assert torch.equal(changed(grey[1:], kind, 3, seed=7), noisy[1:])
    for other in (changed(grey, kind, 4, seed=7), changed(grey, kind, 3, seed=8), noisy.flip(0)):
        assert (other != noisy).float().mean() > 0.5


def slow_shift(image, down, right):
    height, width = image.shape
    return [
        [image[min(max(row - down, 0), height - 1), min(max(column - right, 0), width - 1)] for column in range(width)]
        for row in range(height)
    ]


def test_shifts_repeat_the_border_and_are_all_that_there_are():
    seen = []
    for kind, count, distance in (("shift", 4, 1), ("shift_2", 8, 2)):
        for number in range(count):
            found = changed(IMAGES, kind, number, seed=0)[1, 2].numpy()
            steps = range(-distance, distance + 1)
            moves = [(d, r) for d in steps for r in steps if abs(d) + abs(r) == distance]
            (move,) = [move for move in moves if np.array_equal(slow_shift(IMAGES[1, 2].numpy(), *move), found)]
            seen.append(move)
    assert len(set(seen)) == 12


def test_a_flip_is_a_mirror_and_a_rotation_goes_both_ways():
    assert torch.equal(changed(IMAGES, "flip", 0, seed=0), IMAGES.flip(-1))
    there, back = (changed(IMAGES, "rotation", number, seed=0) for number in (0, 1))
    assert there.shape == IMAGES.shape and there.dtype == torch.uint8
    mirrored = changed(IMAGES.flip(-1), "rotation", 0, seed=0).flip(-1)
    assert (mirrored.int() - back.int()).abs().max() <= 1


@pytest.mark.parametrize(("kind", "number"), [("shift", 4), ("rotation", 6), ("flip", 1), ("near_copy", 192)])
def test_a_change_that_there_is_not_is_refused(kind, number):
    with pytest.raises(ValueError, match=f"none numbered {number}"):
        changed(IMAGES, kind, number, seed=0)
