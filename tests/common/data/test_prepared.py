import resource
import signal
import zipfile

import numpy as np
import pytest
from torchvision import datasets as tv

from common.data import arrays, datasets, partition, prepared
from common.data.config import DatasetConfig
from common.runtime import storage
from common.runtime.errors import UserError
from common.runtime.paths import DatasetFolder
from tests.common.data import imitations

CLASSES = ("auk", "owl")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "birds" / "configs").mkdir(parents=True)
    return DatasetFolder(tmp_path / "birds")


def settings(source, **changes):
    shares = {"members": 10, "reference": 6, "validation": 2}
    said = {"source": source, "size": 4, "channels": 3, "classes": 2, "mean": [0.5] * 3, "std": [0.5] * 3, **shares}
    return DatasetConfig.model_validate(said | changes)


def prepare(folder, config):
    pool = prepared.pool_of(config, folder)
    prepared.write(folder, config, pool)
    return pool, datasets.load(config, folder)


def names(folder):
    return (folder.prepared / "names.txt").read_text().splitlines()


def test_a_pool_is_shuffled_once_and_cut_into_training_and_test_set(folder, tmp_path):
    source = {"folder": str(imitations.pictures(tmp_path / "all", CLASSES, each=15, size=(6, 5)))}
    pool, data = prepare(folder, settings(source))
    assert (len(data.train_images), len(data.test_images), data.listed) == (16, 14, None)
    assert sorted(names(folder)) == sorted(pool.names) != names(folder)
    for place, name in enumerate(names(folder)):
        number = pool.names.index(name)
        images, labels = (data.train_images, data.train_labels) if place < 16 else (data.test_images, data.test_labels)
        at = place if place < 16 else place - 16
        assert np.array_equal(images[at].numpy(), pool.read(number, 3, 4)) and labels[at] == pool.labels[number]
    again = prepare(folder, settings(source))[1]
    assert again.fingerprint() == data.fingerprint()
    fewer = datasets.load(settings(source, reference=3), folder)  # the same memory map, cut elsewhere
    assert len(fewer.train_images) == 13


def test_a_training_set_of_its_own_stays_the_training_set(folder, tmp_path):
    for part, each in (("train", 9), ("test", 5)):
        imitations.pictures(tmp_path / "all" / part, CLASSES, each=each, size=(4, 4))
    _, data = prepare(folder, settings({"folder": str(tmp_path / "all")}))
    assert (len(data.train_images), len(data.test_images)) == (18, 10)
    assert all(name.startswith("train/") for name in names(folder)[:18])


def test_a_list_says_who_the_members_are_whatever_the_seed(folder, tmp_path):
    source = {"folder": str(imitations.pictures(tmp_path / "all", CLASSES, each=15, size=(4, 4)))}
    members = {f"owl/{number:03}.png" for number in range(10)}
    (folder.root / "configs" / "members.txt").write_text("\n".join(f"./{name}" for name in sorted(members)))
    config = settings(source, member_list="members.txt")
    _, data = prepare(folder, config)
    assert data.listed == 10 and len(data.train_images) == 16
    orders = []
    for seed in (0, 1):
        file = partition.make(data, config.sizes, dataset="birds", seed=seed, permutation=None)
        storage.write_json(folder.partition, file.record())
        parts = partition.read(folder.partition, data, sizes=config.sizes)
        assert {names(folder)[index] for index in parts.members} == members
        assert set(parts.reference) | set(parts.validation) == set(range(10, 16)) and parts.permutation.listed
        orders.append(parts.members.tolist())
    assert orders[0] != orders[1] and orders[0] != sorted(orders[0])
    with pytest.raises(UserError, match=r"birds/configs/data\.yaml: members is 9, but the list names 10"):
        nine = config.sizes.model_copy(update={"members": 9})
        partition.make(data, nine, dataset="birds", seed=0, permutation=None)
    (folder.root / "configs" / "members.txt").write_text("\ufeffowl/000.png\n")
    assert prepare(folder, config)[1].listed == 1
    (folder.root / "configs" / "members.txt").write_bytes("größe.png".encode("latin1"))
    with pytest.raises(UserError, match=r"members\.txt: not a text file that can be read"):
        prepare(folder, config)
    for text, said in (("owl/000.png\nowl/000.png", "owl/000.png stands twice"), ("eagle.png", "eagle.png is none of")):
        (folder.root / "configs" / "members.txt").write_text(text)
        with pytest.raises(UserError, match=said):
            prepare(folder, config)


def test_a_memory_map_of_other_settings_or_damaged_is_refused_with_the_command(folder, tmp_path):
    source = {"folder": str(imitations.pictures(tmp_path / "all", CLASSES, each=15, size=(4, 4)))}
    config = settings(source)
    with pytest.raises(UserError, match=r"prepared\.json not found: make it with `python data_partition\.py`"):
        datasets.load(config, folder)
    pool, _ = prepare(folder, config)
    assert prepared.is_current(folder, config, pool)
    with pytest.raises(UserError, match=r"is not of what configs/data\.yaml says: .* `python data_partition\.py`"):
        datasets.load(settings(source, size=5), folder)
    (tmp_path / "all" / "owl" / "000.png").unlink()
    assert not prepared.is_current(folder, config, prepared.pool_of(config, folder))
    images = folder.prepared / "images.npy"
    images.write_bytes(images.read_bytes()[:-1])
    with pytest.raises(UserError, match="is damaged"):
        datasets.load(config, folder)


def test_a_picture_that_cannot_be_read_leaves_the_old_memory_map(folder, tmp_path):
    config = settings({"folder": str(imitations.pictures(tmp_path / "all", CLASSES, each=15, size=(4, 4)))})
    _, data = prepare(folder, config)
    (tmp_path / "all" / "owl" / "007.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"owl/007\.png: no image"):
        prepare(folder, config)
    assert datasets.load(config, folder).fingerprint() == data.fingerprint()
    assert {path.name for path in folder.prepared.parent.iterdir()} == {"prepared"}


def test_a_full_disk_is_said_and_nothing_is_left(folder, tmp_path):
    config = settings({"folder": str(imitations.pictures(tmp_path / "all", CLASSES, each=15, size=(4, 4)))})
    pool, before = prepared.pool_of(config, folder), resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # of each file, as a disk with no more room
    try:
        with pytest.raises(OSError) as caught:
            prepared.write(folder, config, pool)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert caught.value.filename == str(folder.prepared / "images.npy")
    assert not list(folder.prepared.parent.iterdir())


def write_arrays(path, **changes):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (30, 4, 4, 3), dtype=np.uint8)
    np.savez(path, **({"images": images, "labels": np.arange(30) % 2} | changes))
    return path


def test_arrays_are_read_as_they_are(folder, tmp_path):
    path = write_arrays(tmp_path / "some.npz")
    _, data = prepare(folder, settings({"arrays": str(path)}))
    first = int(names(folder)[0])
    with np.load(path) as found:
        assert np.array_equal(data.train_images[0].permute(1, 2, 0).numpy(), found["images"][first])
    with pytest.raises(UserError, match="images are 4x4 with 3 channels: arrays are not resized"):
        prepare(folder, settings({"arrays": str(path)}, size=8))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"images": np.zeros((30, 4, 4))}, r"images: expected uint8 .*, found float64 \[30, 4, 4\]"),
        ({"images": np.zeros((30, 4, 4, 2), np.uint8)}, "with C 1 or 3"),
        ({"labels": np.zeros(29, int)}, r"labels: expected integers \[30\]"),
        ({"labels": np.full(30, -1)}, "counted from 0"),
        ({"labels": np.arange(30) + 65_507}, "65536 is too large: there may be 65536 classes"),
        ({"member": np.zeros(30, int)}, r"member: expected bool \[30\]"),
        ({"labels": np.array([{}] * 30)}, "not a .npz file of plain arrays"),
        ({}, r"not a .npz file of plain arrays \(notes.txt is no array"),
    ],
)
def test_arrays_of_another_kind_are_refused(tmp_path, changes, said):
    with pytest.raises(UserError, match=f"some.npz: .*{said}"):
        write_arrays(tmp_path / "some.npz", **changes)
        with zipfile.ZipFile(tmp_path / "some.npz", "a") as archive:
            archive.writestr("notes.txt", "no array") if not changes else None
        arrays.of_file(tmp_path / "some.npz")


def test_celeba_has_eight_classes_of_three_attributes(folder, monkeypatch):
    """On an imitation of its files, as torchvision reads them."""
    base = folder.raw_data / "celeba"
    (base / "img_align_celeba").mkdir(parents=True)
    files = [f"{number:06}.jpg" for number in range(1, 31)]
    for number, name in enumerate(files):
        imitations.picture(number, (218, 178)).save(base / "img_align_celeba" / name)
    columns = [f"other_{number}" for number in range(37)]
    columns[18:18], columns[21:21], columns[31:31] = ["Heavy_Makeup"], ["Mouth_Slightly_Open"], ["Smiling"]
    bits = np.random.default_rng(0).integers(0, 2, (30, 40)) * 2 - 1
    rows = [f"{name} {' '.join(map(str, row))}" for name, row in zip(files, bits, strict=True)]
    (base / "list_attr_celeba.txt").write_text("\n".join(["30", " ".join(columns), *rows]) + "\n")
    (base / "list_eval_partition.txt").write_text("".join(f"{name} 0\n" for name in files))
    (base / "identity_CelebA.txt").write_text("".join(f"{name} 1\n" for name in files))
    for name in ("list_bbox_celeba.txt", "list_landmarks_align_celeba.txt"):
        heads = {"list_bbox_celeba.txt": "image_id x y w h"}.get(name, "a b")
        (base / name).write_text("\n".join(["30", heads, *(f"{file} 1 1 1 1" for file in files)]) + "\n")
    monkeypatch.setattr(tv.CelebA, "_check_integrity", lambda self: True)
    config = settings({"torchvision": "CelebA"}, classes=8, size=[218, 178], limit=28)
    pool, data = prepare(folder, config)
    chosen = (bits[:, [18, 21, 31]] == 1) @ [4, 2, 1]
    assert pool.labels.tolist() == chosen.tolist() and len(pool.classes) == 8
    assert data.train_images.shape == (16, 3, 218, 178) and len(data.test_images) == 12
    (base / "img_align_celeba" / "000003.jpg").unlink()
    with pytest.raises(UserError, match=r"000003\.jpg not found: unpack"):
        prepared.pool_of(config, folder)
