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


def test_numbers_and_names_of_classes_are_not_mixed_unless_their_order_is_given(tmp_path):
    """Sorted as text the folder 10 would be class 2, which is another one in the file."""
    folders = [str(number) for number in range(11)]
    others = tree(tmp_path / "others", folders, sizes=((6, 4),))
    np.savez(tmp_path / "x.npz", images=np.zeros((11, 6, 4, 3), dtype=np.uint8), labels=np.arange(11))
    for paths in ((tmp_path / "x.npz", others), (others, tmp_path / "x.npz")):
        with pytest.raises(UserError, match=r"x\.npz has numbers for its classes and .*others has names: .*--classes"):
            given_images.read(*paths)
        for found in given_images.read(*paths, classes=folders):
            assert sorted(found.labels.tolist()) == list(range(11))
    assert given_images.read(others, others)[0].labels.tolist() == [0, 1, *range(2, 11)]


def test_test_images_are_not_taken_for_members(tmp_path):
    others = tree(tmp_path / "others", ["x", "y"])
    for part in ("train", "test"):
        tree(tmp_path / "data" / part, ["x", "y"])
    with pytest.raises(UserError, match=r"data holds train/ and test/: say which of them .*data/train"):
        given_images.read(tmp_path / "data", others)
    assert len(given_images.read(tmp_path / "data" / "train", others)[0]) == 4
