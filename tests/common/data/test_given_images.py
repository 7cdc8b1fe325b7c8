"""Images of users: read as they are, brought to a size without being squeezed, and refused by name."""

import numpy as np
import pytest
import torch
from PIL import Image

from common.data import given_images
from common.runtime.errors import UserError


def tree(root, sizes=((6, 4),), mode="RGB", classes=("cat", "dog")):
    for place, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for number, (height, width) in enumerate(sizes):
            shape = (height, width) if mode == "L" else (height, width, 3)
            pixels = np.random.default_rng([place, number]).integers(0, 256, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


def test_pixels_and_labels_are_those_of_the_files(tmp_path):
    root = tree(tmp_path / "x", sizes=((6, 4), (6, 4)))
    found = given_images.read_folder(root, ["bird", "cat", "dog"])
    assert found.images.shape == (4, 3, 6, 4) and found.labels.tolist() == [1, 1, 2, 2]
    expected = np.asarray(Image.open(root / "dog" / "1.png")).transpose(2, 0, 1)
    assert np.array_equal(found.images[3].numpy(), expected)


def test_grey_stays_grey_where_all_are(tmp_path):
    assert given_images.read_folder(tree(tmp_path / "x", mode="L"), ["cat", "dog"]).images.shape == (2, 1, 6, 4)


def test_sizes_that_differ_are_refused_or_brought_to_one(tmp_path):
    root = tree(tmp_path / "x", sizes=((6, 4), (5, 9)))
    with pytest.raises(UserError, match=r"1.png is 5x9 in colour.*0.png is 6x4.*--size"):
        given_images.read_folder(root, ["cat", "dog"])
    assert given_images.read_folder(root, ["cat", "dog"], size=(4, 4)).images.shape == (4, 3, 4, 4)


def test_the_middle_is_kept_and_nothing_is_squeezed():
    """A wide image of one grey level a column: each kept column is the mean of the two that it covers."""
    columns = torch.arange(16, dtype=torch.uint8) * 10
    image = columns.repeat(1, 4, 1)  # [1, 4, 16]
    fitted = given_images.fit(image, (2, 2))
    means = (columns[::2].int() + columns[1::2].int()) / 2
    assert fitted.shape == (1, 2, 2)
    assert fitted[0, 0].tolist() == pytest.approx(means[3:5].tolist(), abs=6)
    assert given_images.fit(image, (4, 16)) is image


def test_arrays_are_taken_as_numpy_users_hold_them(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 6, 4, 3), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images=images, labels=np.arange(5))
    found = given_images.read_arrays(tmp_path / "x.npz")
    assert np.array_equal(found.images.permute(0, 2, 3, 1).numpy(), images) and found.labels.tolist() == [0, 1, 2, 3, 4]
    for change in ({"images": images / 255}, {"labels": np.arange(4)}, {"images": images[..., :2]}):
        np.savez(tmp_path / "y.npz", **({"images": images, "labels": np.arange(5)} | change))
        with pytest.raises(UserError, match=r"y.npz: (images|labels)"):
            given_images.read_arrays(tmp_path / "y.npz")


def test_what_is_no_image_is_named(tmp_path):
    root = tree(tmp_path / "x")
    (root / "cat" / "1.png").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"cat/1.png: no readable image"):
        given_images.read_folder(root, ["cat", "dog"])
    with pytest.raises(UserError, match="class dog is none of cat"):
        given_images.read_folder(root, ["cat"])
    with pytest.raises(UserError, match="one folder of images for each class"):
        given_images.classes_of(tmp_path / "nowhere")
    Image.fromarray(np.zeros((4, 4), dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(UserError, match="more than 8 bits"):
        given_images.read_image(tmp_path / "deep.png")
