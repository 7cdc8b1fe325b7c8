import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.data import membership, partition, permutations
from common.data.partition import DataConfig
from common.data.raw import RawData
from common.runtime import config, storage
from common.runtime.errors import UserError
from tests.common.data.test_permutations import write


def raw_data(train, test, *, shade=0):
    """Tiny images, the labels counting through 3 classes."""
    images = [(torch.arange(n * 4) % 251 + shade).to(torch.uint8).reshape(n, 1, 2, 2) for n in (train, test)]
    return RawData(images[0], torch.arange(train) % 3, images[1], torch.arange(test) % 3)


DATA = raw_data(40, 30)
SIZES = DataConfig(members=20, reference=12, validation=3)


def written(folder, data=DATA, sizes=SIZES, *, seed=0, permutation=None):
    file = partition.make(data, sizes, dataset="cifar10", seed=seed, permutation=permutation)
    storage.write_json(folder / "partition.json", file.model_dump())
    return folder / "partition.json"


def made(folder, data=DATA, sizes=SIZES, **options):
    return partition.read(written(folder, data, sizes, **options), data, sizes=sizes)


@st.composite
def sizes_within(draw):
    members, reference, rest = draw(st.integers(8, 40)), draw(st.integers(1, 40)), draw(st.integers(0, 10))
    sizes = DataConfig(members=members, reference=reference, validation=draw(st.integers(0, reference - 1)))
    return sizes, members + reference + rest, draw(st.integers(8, 50))


@given(sizes_within(), st.integers(0, 3), st.integers(1, 20))
def test_no_two_parts_and_no_two_roles_share_a_sample(tmp_path_factory, wanted, seed, num_sample):
    sizes, train, test = wanted
    parts = made(tmp_path_factory.mktemp("p"), raw_data(train, test), sizes, seed=seed)
    assert [len(part) for part in (parts.members, parts.validation, parts.reference, parts.test_order)] == [
        sizes.members,
        sizes.validation,
        sizes.reference - sizes.validation,
        test,
    ]
    everything = np.concatenate([parts.members, parts.validation, parts.reference])
    assert len(set(everything)) == len(everything) and set(everything) <= set(range(train))
    roles = parts.roles(num_sample)
    assert roles.keys() == {"tuning", "attack_fit", "final_test"}
    for first, second in itertools.combinations(roles.values(), 2):
        assert not set(first.members) & set(second.members)
        assert not set(first.non_members) & set(second.non_members)
    for role in roles.values():
        assert set(role.members) <= set(parts.members) and set(role.non_members) <= set(parts.test_order)
        assert max(len(role.members), len(role.non_members)) <= num_sample


def test_roles_by_hand():
    permutation = partition.Permutation("digits", np.arange(9), source="seed 0", sha256=None)
    parts = partition.Partition(np.arange(9), np.arange(0), np.arange(0), 10 + np.arange(8), "", permutation)
    roles = parts.roles(3)
    assert {name: role.members.tolist() for name, role in roles.items()} == {
        "tuning": [0, 1],
        "attack_fit": [2, 3],
        "final_test": [4, 5, 6],
    }
    assert {name: role.non_members.tolist() for name, role in roles.items()} == {
        "tuning": [10, 11],
        "attack_fit": [12, 13],
        "final_test": [14, 15, 16],
    }


def test_members_come_first_in_the_permutation_then_validation_then_reference(tmp_path):
    order = np.arange(40)[::-1].copy()
    np.save(tmp_path / "order.npy", order)
    parts = made(tmp_path, permutation=tmp_path / "order.npy")
    assert parts.members.tolist() == list(range(39, 19, -1))
    assert parts.validation.tolist() == [19, 18, 17]
    assert parts.reference.tolist() == list(range(16, 7, -1))


def test_the_order_of_the_test_set_is_the_published_one():
    expected = np.arange(10_000)
    np.random.RandomState(2000).shuffle(expected)
    assert np.array_equal(partition.test_order(10_000), expected)
    assert partition.test_order(5).tolist() != list(range(5))


def test_the_global_generator_has_no_say_and_is_left_alone():
    np.random.seed(1)
    state = np.random.get_state()[1].copy()
    order = partition.test_order(20)
    assert np.array_equal(np.random.get_state()[1], state)
    np.random.seed(2)
    assert np.array_equal(partition.test_order(20), order)


def test_a_partition_depends_on_the_seed_and_so_does_its_key(tmp_path):
    first, again, other = (made(tmp_path, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.members, again.members) and first.key == again.key
    assert not np.array_equal(first.members, other.members) and first.key != other.key


def test_more_samples_than_there_are_is_refused_with_the_numbers(tmp_path):
    sizes = DataConfig(members=30, reference=11, validation=0)
    with pytest.raises(UserError, match=r"cifar10/configs/data\.yaml: members \+ reference is 41, .* has 40 samples"):
        partition.make(DATA, sizes, dataset="cifar10", seed=0, permutation=None)


def test_a_partition_of_other_data_is_refused(tmp_path):
    path = written(tmp_path)
    for other in (raw_data(40, 30, shade=1), raw_data(41, 30), raw_data(40, 31)):
        with pytest.raises(UserError, match=r"partition\.json was made from other data .* `python data_partition.py`"):
            partition.read(path, other, sizes=SIZES)


def test_a_partition_of_data_with_other_labels_is_refused(tmp_path):
    path = written(tmp_path)
    relabelled = RawData(DATA.train_images, DATA.train_labels.flip(0), DATA.test_images, DATA.test_labels)
    with pytest.raises(UserError, match="other data"):
        partition.read(path, relabelled, sizes=SIZES)


def test_a_partition_of_other_sizes_is_refused(tmp_path):
    path = written(tmp_path)
    other = SIZES.model_copy(update={"validation": 4})
    with pytest.raises(UserError, match=r"partition\.json was made with other sizes .* `python data_partition.py`"):
        partition.read(path, DATA, sizes=other)


def edited(path, **changes):
    storage.write_json(path, {**storage.read_json(path), **changes})
    return path


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"permutation": [*range(39), 38]}, "not a permutation of 0 … 39"),
        ({"permutation": list(range(39))}, "a permutation of 39 samples, but the training set has 40"),
        ({"permutation": [*range(39), -1]}, "permutation.39: "),
        ({"permutation": [*range(39), 39.0]}, "permutation.39: "),
        ({"schema_version": 2}, "schema_version: "),
        ({"surprise": 1}, "surprise: unknown key"),
    ],
)
def test_an_edited_partition_file_is_refused(tmp_path, changes, part):
    with pytest.raises(UserError) as caught:
        partition.read(edited(written(tmp_path), **changes), DATA, sizes=SIZES)
    assert "partition.json" in str(caught.value) and part in str(caught.value)


def test_a_partition_file_that_is_no_json_says_how_to_make_it_again(tmp_path):
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"partition\.json: not valid JSON .* `python data_partition.py`"):
        partition.read(path, DATA, sizes=SIZES)


def test_a_read_permutation_is_recorded_with_its_name_and_digest(tmp_path):
    path = write(tmp_path / "order.npy", np.arange(40))
    file = partition.make(DATA, SIZES, dataset="cifar10", seed=0, permutation=path)
    assert (file.permutation_source, file.permutation_sha256) == ("order.npy", storage.file_sha256(path))
    drawn = partition.make(DATA, SIZES, dataset="cifar10", seed=7, permutation=None)
    assert (drawn.permutation_source, drawn.permutation_sha256) == ("seed 7", None)


@pytest.fixture
def known(tmp_path, monkeypatch):
    """A file with the published permutation of DATA."""
    path = write(tmp_path / "cifar_shuffle.pkl", np.random.RandomState(5).permutation(40))
    sha256 = storage.file_sha256(path)
    monkeypatch.setitem(permutations.PUBLISHED, "cifar10", permutations.PublishedPartition(sha256, members=20))
    return path


def test_members_of_the_published_permutation_are_the_published_members(tmp_path, known):
    parts = made(tmp_path, permutation=known)
    sha256 = storage.file_sha256(known)
    line = (
        f"permutation: cifar_shuffle.pkl, sha256 {sha256[:16]}…, the published one: members are the published members"
    )
    assert membership.verdict(parts) == line
    said = membership.membership(parts, trained_on=None)  # a checkpoint from elsewhere: nothing to warn of
    assert said.lines == [line]
    order = said.permutation
    assert (order.source, order.sha256, order.published) == ("cifar_shuffle.pkl", sha256, True)
    assert said.trained_with_it is None


def test_another_number_of_members_is_told(tmp_path, known):
    parts = made(tmp_path, sizes=SIZES.model_copy(update={"members": 19}), permutation=known)
    assert membership.verdict(parts).endswith("the published one, but with 19 members where 20 are published")


@pytest.mark.parametrize(
    ("permutation", "end"),
    [
        (None, "permutation: seed 0, not the published one: members are not the published members"),
        (np.arange(40), "not recognised as the published file: members may not be the published members"),
    ],
)
def test_without_the_published_permutation_a_foreign_classifier_is_warned_of(tmp_path, permutation, end):
    path = None if permutation is None else write(tmp_path / "order.npy", permutation)
    parts = made(tmp_path, permutation=path)
    said = membership.membership(parts, trained_on=None)
    assert said.lines[0].endswith(end) and said.permutation.published is False
    assert len(said.lines) == 2 and said.lines[1].startswith("WARNING: the classifier was trained elsewhere")


def test_a_classifier_trained_here_has_these_members_and_one_of_another_partition_has_not(tmp_path):
    parts = made(tmp_path)
    own, other = (membership.membership(parts, trained_on=key) for key in (parts.key, "another"))
    assert own.trained_with_it is True and len(own.lines) == 1
    assert other.trained_with_it is False
    assert other.lines[1].startswith("WARNING: the classifier was trained on another partition")


def test_a_dataset_without_a_published_permutation_says_so(tmp_path):
    permutation = partition.Permutation("digits", np.arange(4), source="seed 0", sha256=None)
    parts = partition.Partition(*[np.arange(1)] * 4, "", permutation)
    assert membership.verdict(parts) == "permutation: seed 0; none is published for digits"
    assert membership.membership(parts, trained_on="").permutation.published is None


def test_the_key_names_the_order_and_not_where_it_comes_from(tmp_path):
    drawn = made(tmp_path, seed=4)
    path = write(tmp_path / "order.npy", drawn.permutation.order)
    assert made(tmp_path, permutation=path).key == drawn.key
    assert made(tmp_path, permutation=write(path, np.arange(40))).key != drawn.key


def test_a_permutation_put_in_place_after_the_partition_was_made_is_told(tmp_path):
    path = tmp_path / "cifar_shuffle.pkl"
    parts = made(tmp_path)
    membership.require_in_use(path, parts)  # none is there
    write(path, np.arange(40))
    with pytest.raises(UserError, match=r"cifar_shuffle\.pkl is there, but .* seed 0: .* `python data_partition.py`"):
        membership.require_in_use(path, parts)
    membership.require_in_use(path, made(tmp_path, permutation=path))


def test_the_table_counts_samples_and_classes_of_every_part(tmp_path):
    lines = partition.table(made(tmp_path), DATA, num_sample=4, num_classes=3).splitlines()
    rows = {line[:28].strip(): line[28:].split() for line in lines[1:]}
    assert rows["members (training set)"][0] == "20" and rows["test set"] == ["30", "3", "10", "…", "10"]
    assert rows["reference"][0] == "9" and rows["validation: checkpoint"][0] == "3"
    assert rows["final_test: non-members"][0] == rows["tuning: members"][0] == "4"


def test_published_roles_by_hand():
    permutation = partition.Permutation("digits", np.arange(9), source="seed 0", sha256=None)
    parts = partition.Partition(np.arange(9), np.arange(0), np.arange(0), 10 + np.arange(8), "", permutation)
    for num_sample, known, target, utility in ((3, [0, 1, 2], [4, 5, 6], [0, 1, 2]),
                                               (5, [0, 1, 2, 3], [4, 5, 6, 7, 8], [0, 1, 2, 3, 4])):  # fmt: skip
        roles = parts.published_roles(num_sample)
        assert {name: role.members.tolist() for name, role in roles.items()} == {
            "known": known,
            "target": target,
            "utility": utility,
        }
    roles = parts.published_roles(3)
    assert {name: role.non_members.tolist() for name, role in roles.items()} == {
        "known": [10, 11, 12],
        "target": [14, 15, 16],
        "utility": [10, 11, 12],
    }


def test_both_protocols_tune_and_judge_on_the_same_samples_where_a_quarter_is_enough():
    """So that an evaluation by both draws one full bank."""
    permutation = partition.Permutation("digits", np.arange(40), source="seed 0", sha256=None)
    parts = partition.Partition(np.arange(40), np.arange(0), np.arange(0), np.arange(24), "", permutation)
    held_out, published = parts.roles(6), parts.published_roles(6)
    for own, theirs in (("tuning", "known"), ("final_test", "target")):
        assert held_out[own].members.tolist() == published[theirs].members.tolist()
        assert held_out[own].non_members.tolist() == published[theirs].non_members.tolist()


def test_a_validation_part_as_large_as_the_reference_set_is_refused():
    with pytest.raises(UserError) as caught:
        config.parse({"members": 10, "reference": 5, "validation": 5}, DataConfig, source="data.yaml")
    assert "the file: validation (5) must be smaller than reference (5)" in str(caught.value)


@pytest.mark.parametrize(
    ("members", "test", "what"), [(7, 30, "7 members"), (3, 30, "3 members"), (20, 7, "7 test samples")]
)
def test_roles_that_are_too_small_are_refused_with_the_least_that_works(members, test, what):
    data, sizes = raw_data(40, test), SIZES.model_copy(update={"members": members})
    with pytest.raises(UserError, match=f"digits/configs/data.yaml: {what} are too few: the roles need at least 8"):
        partition.make(data, sizes, dataset="digits", seed=0, permutation=None)


def test_the_least_that_works_gives_every_role_two_of_each_kind(tmp_path):
    parts = made(tmp_path, raw_data(40, 8), SIZES.model_copy(update={"members": 8}))
    for role in (parts.roles(100) | parts.published_roles(100)).values():
        assert len(role.members) >= 2 and len(role.non_members) >= 2
