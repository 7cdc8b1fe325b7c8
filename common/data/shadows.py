"""Who is a member for shadow models, and canaries: mislabelled samples, each in with probability 1/2.

The pool is members and reference samples, cut into the same roles for all models. Shadow models come in pairs: of each
role one of the pair has a random half as its members and the other one the rest, so each sample is in for exactly half
of the models. The partition's own members are such halves too, so the target is one more model of the kind.
"""

from dataclasses import dataclass, replace

import numpy as np

from common.data.partition import Partition, quarters
from common.runtime import rng, storage
from common.runtime.errors import UserError

TARGET = 0  # the number of the model that has the partition's own members; shadow models are 1, 2, …


@dataclass(frozen=True)
class Canaries:
    """Indices into the training set, int64 [M], and the wrong labels that they are given, int64 [M]."""

    indices: np.ndarray
    labels: np.ndarray


NONE = Canaries(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))


def canaries(partition: Partition, labels: np.ndarray, count: int, *, num_classes: int) -> Canaries:
    """``count`` samples of the final test's part of the pool, half of them from the members; none for 0.

    labels:  of the training set, int64 [n]

    Raises UserError where they are not an even number, or more than half of that part.
    """
    require_pool(partition)
    if count == 0:
        return NONE
    members, others = (cuts["final_test"] for cuts in _cuts(partition))
    if count < 0 or count % 2 or count > len(members):
        raise UserError(f"--canaries {count}: an even number, at most {len(members)}, half of the final test's samples")
    generator = rng.numpy_generator(partition.key, "canaries")
    chosen = np.concatenate([generator.choice(part, count // 2, replace=False) for part in (members, others)])
    wrong = (labels[chosen] + generator.integers(1, num_classes, count)) % num_classes
    return Canaries(chosen, wrong)


def partition_of(partition: Partition, number: int, among: Canaries = NONE) -> Partition:
    """The partition that model ``number`` is trained with; the target's is the given one, but for canaries.

    Every canary is a member with probability 1/2, by a draw of its own: in exactly one model of a pair.
    """
    require_pool(partition)
    if number == TARGET and not len(among.indices):
        return partition
    pair, second = divmod(number - 1, 2)
    named = (partition.key, "target") if number == TARGET else (partition.key, "shadow models", pair)
    generator = rng.numpy_generator(*named)
    members, others = [], []
    for mine, theirs in zip(*(cuts.values() for cuts in _cuts(partition)), strict=True):
        left = [part[~np.isin(part, among.indices)] for part in (mine, theirs)]
        halves = left if number == TARGET else np.array_split(generator.permutation(np.concatenate(left)), 2)
        members.append(halves[0])
        others.append(halves[1])
    heads = generator.random(len(among.indices)) < 0.5
    members.append(among.indices[heads])
    others.append(among.indices[~heads])
    if number != TARGET and second:
        members, others = others, members
    reference, first = np.concatenate(others), len(partition.validation)
    named_by = [partition.key, number, among.indices.tolist(), among.labels.tolist()]
    return replace(
        partition,
        members=np.concatenate(members),
        validation=reference[:first],
        reference=reference[first:],
        key=storage.digest(["shadow models", *named_by]),
        file=None,
    )


def pool_roles(partition: Partition, num_sample: int, among: Canaries = NONE) -> dict[str, np.ndarray]:
    """Indices into the training set by role: the partition's members and then its reference samples, and canaries.

    At most ``num_sample`` of each kind in each role; canaries are not in the final test but in a role of their own.
    """
    require_pool(partition)
    mine, theirs = _cuts(partition)
    roles = {}
    for name in mine:
        parts = [part[~np.isin(part, among.indices)][:num_sample] for part in (mine[name], theirs[name])]
        roles[name] = np.concatenate(parts)
    return {**roles, "canaries": among.indices}


def require_pool(partition: Partition) -> None:
    """Raise UserError where the target would not be one more model of the shadow models' kind."""
    members, others = len(partition.members), len(partition.validation) + len(partition.reference)
    if members != others:
        raise UserError(
            f"shadow models are trained on halves of {members} members and {others} reference samples, so that the "
            "target is one more of their kind: make members and reference in configs/data.yaml equal"
        )


def _cuts(partition: Partition) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Members, and the other samples of the pool, by role."""
    return quarters(partition.members), quarters(np.concatenate([partition.validation, partition.reference]))
