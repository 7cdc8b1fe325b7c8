"""What every loader ends in."""

import hashlib
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class RawData:
    """Images uint8 [N, C, H, W] and labels int64 [N], of the training and of the test set.

    listed:  how many of the first training samples a list names, as the members; None: the permutation says who is one
    """

    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor
    listed: int | None = None

    def fingerprint(self) -> str:
        """A sha256 over every pixel and label, which ties a partition to the data it was made from."""
        digest = hashlib.sha256()
        for tensor in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(str((tensor.dtype, tuple(tensor.shape))).encode())
            digest.update(tensor.numpy().data)
        return digest.hexdigest()
