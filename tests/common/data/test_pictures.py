import os

import numpy as np
import pytest
from PIL import Image

from common.data import pictures
from common.runtime.errors import UserError
from tests.common.data import imitations


def test_each_folder_is_a_class_in_alphabetical_order(tmp_path):
    imitations.pictures(tmp_path, ("owl", "auk"), each=2, size=(4, 4))
    (tmp_path / "auk" / "notes.txt").write_text("no picture")
    (tmp_path / ".thumbnails").mkdir()
    pool = pictures.of_folders(tmp_path)
    assert pool.names == ["auk/000.png", "auk/001.png", "owl/000.png", "owl/001.png"]
    assert (pool.labels.tolist(), pool.classes, pool.training) == ([0, 0, 1, 1], ["auk", "owl"], None)


def test_train_and_test_are_told_apart_where_they_are_there(tmp_path):
    imitations.pictures(tmp_path / "train", ("auk", "owl"), each=3, size=(4, 4))
    imitations.pictures(tmp_path / "test", ("owl",), each=2, size=(4, 4))
    pool = pictures.of_folders(tmp_path)
    assert pool.training == 6 and pool.labels.tolist() == [0, 0, 0, 1, 1, 1, 1, 1]
    assert pool.names[-1] == "test/owl/001.png"
    imitations.pictures(tmp_path / "test", ("crane",), each=1, size=(4, 4))
    with pytest.raises(UserError, match=r"test: class crane has no folder in .*train"):
        pictures.of_folders(tmp_path)


def test_a_folder_without_classes_is_refused_with_what_it_should_be(tmp_path):
    imitations.pictures(tmp_path, ("auk",), each=1, size=(4, 4))
    with pytest.raises(UserError, match=r"for each of two classes or more: .*/CLASS/NAME.png"):
        pictures.of_folders(tmp_path)
    (tmp_path / "owl").mkdir()
    with pytest.raises(UserError, match="owl has no images"):
        pictures.of_folders(tmp_path)
    with pytest.raises(UserError, match="nowhere: not a folder that can be read"):
        pictures.of_folders(tmp_path / "nowhere")


@pytest.mark.parametrize("name", [b"gr\xf6\xdfe.png", b"two\nlines.png"])
def test_a_name_that_no_list_can_hold_is_refused_before_any_image_is_read(tmp_path, name):
    imitations.pictures(tmp_path, ("owl", "auk"), each=1, size=(4, 4))
    (tmp_path / "owl" / os.fsdecode(name)).write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"'owl/.*' is not one line of UTF-8, .*: rename the file"):
        pictures.of_folders(tmp_path)


def test_utkface_is_labelled_by_race_and_others_are_left_out(tmp_path):
    names = ["26_0_1_20170116184024662.jpg.chip.jpg", "3_1_0_20161219154612664.jpg", "40_0_4_2017.jpg", "39_1_2017.jpg"]
    for name in names:
        imitations.picture(0, (4, 4)).save(tmp_path / name, format="JPEG")
    pool = pictures.of_utkface(tmp_path)
    assert pool.names == names[:2] and pool.labels.tolist() == [1, 0] and len(pool.classes) == 4
    with pytest.raises(UserError, match="no files named as UTKFace's"):
        pictures.of_utkface(imitations.pictures(tmp_path / "birds", ("auk",), each=1, size=(4, 4)))


def test_the_middle_is_cut_out_in_the_shape_that_is_wanted_and_averaged(tmp_path):
    pixels = np.zeros((4, 12, 3), dtype=np.uint8)
    pixels[:, 4:8] = 200  # what a square takes of it
    pixels[:, 4:6] = 100
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = pictures.read(tmp_path / "a.png", 3, 4)
    assert np.array_equal(found, pixels[:, 4:8].transpose(2, 0, 1))
    grey = pictures.read(tmp_path / "a.png", 1, (4, 12))
    assert grey.shape == (1, 4, 12) and np.array_equal(grey[0], pixels[:, :, 0])
    checks = np.indices((64, 64)).sum(axis=0) % 2 * 255  # made smaller without antialiasing it stays black or white
    Image.fromarray(checks.astype(np.uint8)).save(tmp_path / "b.png")
    assert np.abs(pictures.read(tmp_path / "b.png", 1, 16)[0].astype(int) - 127).max() < 40


def test_a_picture_is_turned_as_its_file_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    imitations.picture(1, (10, 20)).save(tmp_path / "a.jpg", exif=exif)
    assert pictures.look(tmp_path / "a.jpg") == (3, 20, 10)
    lying, _ = tmp_path / "b.jpg", imitations.picture(1, (10, 20)).save(tmp_path / "b.jpg")
    turned = np.rot90(pictures.read(lying, 3, (10, 20)), -1, axes=(1, 2))
    assert np.array_equal(pictures.read(tmp_path / "a.jpg", 3, (20, 10)), turned)


def test_sixteen_bits_are_read_as_eight_and_more_are_refused(tmp_path):
    Image.fromarray(np.full((4, 4), 40_000, dtype=np.uint16)).save(tmp_path / "a.png")
    assert pictures.look(tmp_path / "a.png")[0] == 1
    assert (pictures.read(tmp_path / "a.png", 1, 4) == 40_000 >> 8).all()
    Image.fromarray(np.full((4, 4), 0.5, dtype=np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(UserError, match=r"a\.tiff: no image that can be read \(its pixels have 32 bits\)"):
        pictures.read(tmp_path / "a.tiff", 1, 4)


@pytest.mark.parametrize("kept", [0, 20, 60, 200])
def test_a_broken_file_is_named(tmp_path, kept):
    path = tmp_path / "a.png"
    imitations.picture(1, (20, 20)).save(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"a\.png: no image that can be read .*: mend it or take it away"):
        pictures.read(path, 3, 8)


def test_a_picture_that_unpacks_to_more_than_any_memory_is_named(tmp_path, monkeypatch):
    imitations.picture(1, (20, 20)).save(tmp_path / "a.png")
    for limit in (300, 100):  # Pillow warns of more than this, and refuses twice as much
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(UserError, match=r"a\.png: no image that can be read \(Image size"):
            pictures.read(tmp_path / "a.png", 3, 8)
