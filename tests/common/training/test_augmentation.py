import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.runtime.images import Labelled, to_float
from common.training.augmentation import MARGINS, CropFlip, changes_of_epoch, crop_flip, draw
from tests.common.defenses import generator, samples


def slowly(image, top, left, flip):
    """One image [C, H, W] pixel by pixel, black outside of itself."""
    _, height, width = image.shape
    margin, result = width // MARGINS, np.zeros_like(image)
    for row in range(height):
        for column in range(width):
            y, x = row + top - margin, column + left - margin
            if 0 <= y < height and 0 <= x < width:
                result[:, row, width - 1 - column if flip else column] = image[:, y, x]
    return result


@given(st.integers(1, 6), st.sampled_from([1, 3]), st.sampled_from([8, 16, 28]), st.integers(0, 99))
def test_crops_are_those_that_pixels_moved_one_by_one_give(count, channels, size, seed):
    draws = generator(seed)
    images = torch.rand(count, channels, size, size, generator=draws)
    drawn = draw(count, margin=size // MARGINS, generator=draws)
    expected = [slowly(image.numpy(), *(int(part[n]) for part in drawn)) for n, image in enumerate(images)]
    changed = crop_flip(images, drawn)
    assert changed.is_contiguous() and np.array_equal(changed.numpy(), np.stack(expected))


def test_the_margin_is_of_four_pixels_for_images_of_32():
    """The first pixel and the last of a white image are black where the crop begins at the two ends."""
    ends = CropFlip(torch.tensor([0, 8, 4]), torch.tensor([0, 8, 4]), torch.tensor([False] * 3))
    rows = crop_flip(torch.ones(3, 1, 32, 32), ends).amax(dim=3)[:, 0]
    assert rows.sum(dim=1).tolist() == [28, 28, 32]
    assert rows[0, :4].sum() == rows[1, 28:].sum() == 0


def test_every_crop_and_both_sides_come_equally_often():
    margin, count = 4, 81 * 2 * 100
    drawn = draw(count, margin=margin, generator=generator())
    cells = (drawn.top * 9 + drawn.left) * 2 + drawn.flip
    counts = torch.bincount(cells, minlength=162).double()
    assert len(counts) == 162
    assert (
        abs(((counts - 100) ** 2 / 100).sum() - 161) < 5 * (2 * 161) ** 0.5
    )  # chi-squared with 161 degrees of freedom


def changed(data, indices, *, name="crop_flip", seed=0, epoch=0):
    return changes_of_epoch(name, data, seed=seed, epoch=epoch)(to_float(data.images[indices]), indices)


def test_a_sample_is_changed_alike_in_whatever_batch_it_is_and_anew_in_each_epoch():
    data, order = samples(20), torch.randperm(20, generator=generator())
    whole = changed(data, order)
    torch.manual_seed(5)  # of which nothing depends
    assert torch.equal(torch.cat([changed(data, part) for part in order.split(7)]), whole)
    assert torch.equal(torch.cat([changed(data, part) for part in order.split(1)]), whole)
    for other in ({"epoch": 1}, {"seed": 1}):
        assert not torch.equal(changed(data, order, **other), whole)


def test_nothing_is_drawn_from_the_global_generator_and_without_a_name_nothing_changes():
    data, indices = samples(5), torch.arange(5)
    before = torch.random.get_rng_state()
    changed(data, indices)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(changed(data, indices, name="none"), to_float(data.images))


@pytest.mark.parametrize("size", [7, 1])
def test_images_too_small_for_a_margin_are_mirrored_alone(size):
    data = Labelled(torch.arange(size * size, dtype=torch.uint8).reshape(1, 1, size, size).repeat(9, 1, 1, 1), None)
    images = to_float(data.images)
    for image in changed(data, torch.arange(9)):
        assert torch.equal(image, images[0]) or torch.equal(image, images[0].flip(2))
