"""Images of members and of others are brought to one shape and one order of classes."""

import numpy as np
import pytest
from PIL import Image

from common.data import given_images
from common.runtime.errors import UserError


def tree(root, classes, sizes=((6, 4), (6, 4)), mode="RGB"):
    for place, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for number, (height, width) in enumerate(sizes):
            shape = (height, width) if mode == "L" else (height, width, 3)
            pixels = np.random.default_rng([place, number]).integers(0, 256, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


def test_pixels_are_those_of_the_files_and_labels_places_in_one_order_for_both(tmp_path):
    members, others = tree(tmp_path / "a", ["cat", "dog"]), tree(tmp_path / "b", ["bird", "cat"])
    ours, theirs = given_images.read(members, others)
    assert ours.images.shape == (4, 3, 6, 4) and ours.labels.tolist() == [1, 1, 2, 2]
    assert theirs.labels.tolist() == [0, 0, 1, 1]
    assert np.array_equal(ours.images[3].numpy(), np.asarray(Image.open(members / "dog" / "1.png")).transpose(2, 0, 1))
    assert given_images.read(members, others, classes=["dog", "cat", "bird"])[0].labels.tolist() == [1, 1, 0, 0]
    with pytest.raises(UserError, match="class bird is none of cat, dog"):
        given_images.read(members, others, classes=["cat", "dog"])


def test_grey_stays_grey_where_all_are(tmp_path):
    grey, coloured = tree(tmp_path / "a", ["x", "y"], mode="L"), tree(tmp_path / "b", ["x", "y"])
    assert given_images.read(grey, grey)[0].images.shape == (4, 1, 6, 4)
    assert [each.images.shape[1] for each in given_images.read(grey, coloured)] == [3, 3]


def test_sizes_that_differ_are_refused_or_brought_to_one(tmp_path):
    one, other = tree(tmp_path / "a", ["x", "y"]), tree(tmp_path / "b", ["x", "y"], sizes=((5, 9),))
    with pytest.raises(UserError, match=r"images of 6x4 and .* of 5x9: give the size"):
        given_images.read(one, other)
    assert [each.images.shape[1:] for each in given_images.read(one, other, size=4)] == [(3, 4, 4)] * 2


def test_arrays_of_another_size_are_refused_without_the_advice_to_resize_them(tmp_path):
    for name, side in (("x.npz", 4), ("y.npz", 5)):
        np.savez(tmp_path / name, images=np.zeros((5, side, 4), dtype=np.uint8), labels=[4, 0, 1, 2, 3])
    with pytest.raises(UserError, match=r"images of 4x4 and .* of 5x4: arrays are not resized"):
        given_images.read(tmp_path / "x.npz", tmp_path / "y.npz")


def test_arrays_keep_their_labels(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 6, 4, 3), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images=images, labels=[4, 0, 1, 2, 3])
    found = given_images.read(tmp_path / "x.npz", tmp_path / "x.npz")[0]
    assert np.array_equal(found.images.permute(0, 2, 3, 1).numpy(), images) and found.labels.tolist() == [4, 0, 1, 2, 3]
