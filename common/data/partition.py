"""Which sample plays which part: pure index arithmetic over the training and the test set.

Members are the first samples of a permutation of the training set, the reference set the next ones, as in the
published code; the first reference samples are kept for choosing checkpoints. Members and test set are each cut in
half: the second halves are the targets of the final test, the quarters of the first halves serve the defender and the
attacker. So the four roles (choosing the checkpoint, tuning the defence, fitting the attack, the final test) never
share a sample.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, model_validator

from common.data import permutations
from common.data.raw import RawData
from common.runtime import storage
from common.runtime.config import NonNegative, Positive, Strict, later, parse
from common.runtime.errors import UserError
from common.runtime.storage import FileRead

TEST_ORDER_SEED = 2000  # of the published code, for every dataset
LEAST = 8  # members, and test samples: two in each quarter, so that every attack has something to learn from


class DataConfig(Strict):
    """configs/data.yaml: how the training and the test set are shared out."""

    members: Positive  # the classifier's training set
    reference: NonNegative  # other samples of the training set, which defences may use
    validation: NonNegative  # the first of the reference set, kept for choosing checkpoints only

    @model_validator(mode="after")
    def _validation_fits(self) -> "DataConfig":
        if self.validation >= max(self.reference, 1):
            raise ValueError(f"validation ({self.validation}) must be smaller than reference ({self.reference})")
        return self


class PartitionFile(Strict):
    """data/partition.json"""

    schema_version: Annotated[int, Field(ge=1, le=1)]
    dataset: str
    data_sha256: str
    permutation_source: str  # "seed 0", or the name of the file it was read from
    permutation_sha256: str | None  # of that file
    listed: int | None = later(None)  # how many of the first training samples a list names, as the members
    sizes: DataConfig
    permutation: list[Annotated[int, Field(ge=0)]]
    test_size: Annotated[int, Field(gt=0)]
    checksum: str | None = None  # of everything above; older files have none

    @property
    def key(self) -> str:
        """Names the data and who plays which part: the same order from a seed and from a file is the same partition."""
        return storage.digest(self.model_dump(exclude={"permutation_source", "permutation_sha256", "checksum"}))

    def record(self) -> dict[str, Any]:
        """As it is written down, with its checksum."""
        return storage.with_checksum(self.model_dump(exclude={"checksum"}))


@dataclass(frozen=True)
class Role:
    """Members as indices into the training set, non-members as indices into the test set."""

    members: np.ndarray
    non_members: np.ndarray

    def __len__(self) -> int:
        return len(self.members) + len(self.non_members)


@dataclass(frozen=True)
class Permutation:
    """The order of the training set that decides who is a member, and where it comes from."""

    dataset: str
    order: np.ndarray  # int64 [n]
    source: str  # "seed 0", or the name of the file it was read from
    sha256: str | None  # of that file
    listed: bool = False  # a list says who the members are, and only their order is drawn

    @cached_property
    def published(self) -> bool | None:
        """As ``permutations.is_published`` says."""
        return permutations.is_published(self.order, dataset=self.dataset, sha256=self.sha256)


@dataclass(frozen=True)
class Partition:
    """Indices into the training set (members, validation, reference) and into the test set (test_order)."""

    members: np.ndarray
    validation: np.ndarray
    reference: np.ndarray
    test_order: np.ndarray
    key: str  # names the data and who plays which part
    permutation: Permutation
    file: FileRead | None = None  # as it was read; None where it was not read from a file

    def roles(self, num_sample: int) -> dict[str, Role]:
        """The roles that need members and non-members, with at most ``num_sample`` of each."""
        cuts = [quarters(indices) for indices in (self.members, self.test_order)]
        return {
            name: Role(*(cut[name][:num_sample] for cut in cuts)) for name in ("tuning", "attack_fit", "final_test")
        }

    def published_roles(self, num_sample: int) -> dict[str, Role]:
        """The published evaluation's sets: "known" to defender and attacker, "target" of the attack, and "utility", the
        first of each list, which accuracy is reported on: the known ones again, and more where half a list is too few.

        Where a quarter of each list is enough, "known" is the tuning role and "target" is the final test, so that both
        protocols need the same candidates.
        """
        members, test = self.members, self.test_order
        halves = [np.split(indices, [len(indices) // 2]) for indices in (members, test)]
        known, target = (Role(*(half[i][:num_sample] for half in halves)) for i in (0, 1))
        return {"known": known, "target": target, "utility": Role(members[:num_sample], test[:num_sample])}


def quarters(indices: np.ndarray) -> dict[str, np.ndarray]:
    """What each role gets of a list int64 [n]: a quarter, a quarter and a half, in this order."""
    half = len(indices) // 2
    quarter = half // 2
    return {"tuning": indices[:quarter], "attack_fit": indices[quarter:half], "final_test": indices[half:]}


def test_order(size: int) -> np.ndarray:
    """The published order of the test set: numpy's legacy generator, seed 2000, shuffling arange(size)."""
    order = np.arange(size)
    np.random.RandomState(TEST_ORDER_SEED).shuffle(order)
    return order


def make(data: RawData, sizes: DataConfig, *, dataset: str, seed: int, permutation: Path | None) -> PartitionFile:
    """Partition a dataset by the permutation of its training set in a file, or by one drawn from the seed."""
    size = len(data.train_images)
    if sizes.members + sizes.reference > size:
        raise UserError(
            f"{dataset}/configs/data.yaml: members + reference is {sizes.members + sizes.reference}, "
            f"but the training set has {size} samples"
        )
    if data.listed not in (None, sizes.members):
        raise UserError(f"{dataset}/configs/data.yaml: members is {sizes.members}, but the list names {data.listed}")
    _require_roles(sizes.members, len(data.test_images), source=f"{dataset}/configs/data.yaml")
    if data.listed is not None and permutation is not None:
        raise UserError(f"{permutation}: {dataset}/configs/data.yaml has a list of members: leave one of them away")
    if permutation is None:
        order, sha256, source = _drawn(size, seed, listed=data.listed or 0), None, f"seed {seed}"
    else:
        (order, sha256), source = permutations.read_with_sha256(permutation, size=size), permutation.name
    return PartitionFile(
        schema_version=1,
        dataset=dataset,
        data_sha256=data.fingerprint(),
        permutation_source=source,
        permutation_sha256=sha256,
        listed=data.listed,
        sizes=sizes,
        permutation=order.tolist(),
        test_size=len(data.test_images),
    )


def _drawn(size: int, seed: int, *, listed: int) -> np.ndarray:
    """A permutation int64 [size]; the ``listed`` first samples stay the first ones."""
    generator = np.random.RandomState(seed)
    if not listed:
        return generator.permutation(size)
    return np.concatenate([generator.permutation(listed), listed + generator.permutation(size - listed)])


def _require_roles(members: int, test: int, *, source: str) -> None:
    """Raise UserError where the roles would be too small for the attacks, whatever the protocol and the scenario."""
    for what, count in (("members", members), ("test samples", test)):
        if count < LEAST:
            raise UserError(
                f"{source}: {count} {what} are too few: the roles need at least {LEAST}, two in each quarter"
            )


def read_file(path: Path) -> tuple[PartitionFile, FileRead]:
    """What a partition.json holds; UserError where that is damaged."""
    again, data = "make it again with `python data_partition.py`", path.read_bytes()
    try:
        content = storage.parse_json(data)
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error}): {again}") from error
    file = parse(content, PartitionFile, source=str(path))
    if file.checksum not in (None, file.record()[storage.CHECKSUM]):
        raise UserError(f"{path} is damaged, its checksum does not fit what it holds: {again}")
    return file, FileRead(path, storage.bytes_sha256(data), checked=file.checksum is not None)


def read(path: Path, data: RawData, *, sizes: DataConfig) -> Partition:
    """The partition of this data; UserError where it was made from other data or other sizes, or is damaged."""
    file, as_read = read_file(path)
    again = "make it again with `python data_partition.py`"
    if (file.data_sha256, file.listed) != (data.fingerprint(), data.listed):
        raise UserError(f"{path} was made from other data than the folder holds now: {again}")
    if file.sizes != sizes:
        raise UserError(f"{path} was made with other sizes than configs/data.yaml has now: {again}")
    _require_roles(sizes.members, len(data.test_images), source=str(path))
    permutation = permutations.check(np.array(file.permutation), size=len(data.train_images), source=str(path))
    members, reference = np.split(permutation[: sizes.members + sizes.reference], [sizes.members])
    return Partition(
        members=members,
        validation=reference[: sizes.validation],
        reference=reference[sizes.validation :],
        test_order=test_order(len(data.test_images)),
        key=file.key,
        permutation=Permutation(
            file.dataset, permutation, file.permutation_source, file.permutation_sha256, file.listed is not None
        ),
        file=as_read,
    )


def table(partition: Partition, data: RawData, *, num_sample: int, num_classes: int) -> str:
    """Sizes and class balance of every part and role, as text."""
    rows = [
        ("members (training set)", partition.members, data.train_labels),
        ("reference", partition.reference, data.train_labels),
        ("validation: checkpoint", partition.validation, data.train_labels),
        ("test set", partition.test_order, data.test_labels),
    ]
    for name, role in partition.roles(num_sample).items():
        rows.append((f"{name}: members", role.members, data.train_labels))
        rows.append((f"{name}: non-members", role.non_members, data.test_labels))
    lines = [f"{'part or role':<28}{'samples':>9}{'classes':>9}   fewest … most of a class"]
    for name, indices, labels in rows:
        counts = np.bincount(labels.numpy()[indices], minlength=num_classes)
        lines.append(f"{name:<28}{len(indices):>9}{np.count_nonzero(counts):>9}   {counts.min()} … {counts.max()}")
    return "\n".join(lines)
