# SPDX-License-Identifier: Apache-2.0
"""Load scikit-learn's handwritten digits: 1797 real 8 x 8 images in ten classes, without a download."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lightning_monocon.data.images.corruptions import CORRUPTIONS, corrupt_images
from lightning_monocon.data.keyed_random import uniform
from lightning_monocon.data.sampling import EpochSampler, ShardSampler
from lightning_monocon.data.split_data import SplitData

Batch: TypeAlias = tuple[Tensor, Tensor]

_CLASSES = 10
_FULL_SCALE = 16.0  # load_digits counts dark pixels in 4 x 4 cells: 0 to 16


class DigitImages(Dataset[Batch]):
    """Hold images ``(N, 1, 8, 8)`` in [0, 1] and labels ``(N,)``, and fetch a whole batch at once.

    An ``(epoch, index)`` key asks for an augmented image, a plain index for the image as it is.
    """

    def __init__(self, images: NDArray[np.float32], labels: NDArray[np.int64], seed: int, erasing: float) -> None:
        self.images, self.labels, self.seed, self.erasing = images, labels, seed, erasing

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __getitem__(self, item: int | tuple[int, int]) -> Batch:
        """Return one image ``(1, 8, 8)`` and its label ``()``."""
        images, labels = self.__getitems__([item])
        return images[0], labels[0]

    def __getitems__(self, items: Sequence[int | tuple[int, int]]) -> Batch:
        """Return the batch ``(B, 1, 8, 8)``, ``(B,)``; PyTorch's fetcher calls this once per batch."""
        keys = np.asarray(items, dtype=np.int64)
        if keys.ndim == 1:
            return torch.from_numpy(self.images[keys]), torch.from_numpy(self.labels[keys])
        epochs, indices = keys.T
        images = augment(self.images[indices], uniform(self.seed, epochs, indices, 7), self.erasing)
        return torch.from_numpy(images), torch.from_numpy(self.labels[indices])


def augment(images: NDArray[np.float32], random: NDArray[np.float64], erasing: float) -> NDArray[np.float32]:
    """Shift each image by at most one pixel a side and erase a small rectangle from some.

    Args:
        images: Images ``(B, 1, H, W)``.
        random: Uniforms in [0, 1), shape ``(B, 7)``: shift down, shift right, erase or not, height, width, top, left.
        erasing: Share of the images that lose a rectangle of two or three pixels a side.

    Returns:
        New images of the same shape; pixels that are shifted in or erased are 0, the background.
    """
    height, width = images.shape[-2:]
    rows, columns = np.arange(height), np.arange(width)
    down, right = (random[:, :2] * 3).astype(np.int64).T
    padded = np.pad(images[:, 0], ((0, 0), (1, 1), (1, 1)))
    sample = np.arange(len(images))[:, None, None]
    shifted = padded[sample, (rows + down[:, None])[:, :, None], (columns + right[:, None])[:, None, :]]

    sides = 2 + (random[:, 3:5] * 2).astype(np.int64)
    corner = (random[:, 5:7] * (np.array([height, width]) + 1 - sides)).astype(np.int64)
    in_rows = (rows >= corner[:, :1]) & (rows < (corner + sides)[:, :1])
    in_columns = (columns >= corner[:, 1:]) & (columns < (corner + sides)[:, 1:])
    erased = (random[:, 2] < erasing)[:, None, None] & in_rows[:, :, None] & in_columns[:, None, :]
    return np.where(erased, np.float32(0), shifted)[:, None]


class DigitsData(SplitData[DigitImages]):
    """Load digits with a stratified split into train, validation and test.

    Validation, test and prediction loaders come in pairs: the gallery (train images, not augmented) and the query.

    Args:
        batch_size: Images per step and rank.
        test_size: Share of all images kept for the test.
        val_size: Share of the rest kept for validation.
        split_seed: Seed of the split; keep it to compare runs.
        seed: Seed of order and augmentation; ``None`` takes that of `seed_everything`, or 0 without one.
        erasing: Share of the train images that lose a small rectangle.
        num_workers: Number of loader processes.

    Raises:
        ValueError: If a share is not in (0, 1), or the batch does not fit the train split.
    """

    num_classes = _CLASSES
    corruptions: ClassVar[tuple[str, ...]] = CORRUPTIONS

    def __init__(
        self,
        batch_size: int = 256,
        *,
        test_size: float = 0.3,
        val_size: float = 0.1,
        split_seed: int = 0,
        seed: int | None = None,
        erasing: float = 0.25,
        num_workers: int = 0,
    ) -> None:
        super().__init__(seed)
        for name, share in (("test_size", test_size), ("val_size", val_size)):
            if not 0 < share < 1:
                raise ValueError(f"`{name}` must lie strictly between 0 and 1, got {share}. Try 0.1.")
        if batch_size < 2:
            raise ValueError(f"`batch_size` must be at least 2 to hold a pair, got {batch_size}. Try 256.")
        self.batch_size, self.num_workers, self.erasing = batch_size, num_workers, erasing
        self.test_size, self.val_size, self.split_seed = test_size, val_size, split_seed

    def setup(self, stage: str) -> None:
        """Load and split; the same for every stage."""
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        digits: Any = load_digits()
        images = (digits.images[:, None] / _FULL_SCALE).astype(np.float32)
        labels = digits.target.astype(np.int64)
        rest, test = train_test_split(
            np.arange(len(labels)), test_size=self.test_size, stratify=labels, random_state=self.split_seed
        )
        train, val = train_test_split(
            rest, test_size=self.val_size, stratify=labels[rest], random_state=self.split_seed
        )
        self.train, self.val, self.test = (
            DigitImages(images[part], labels[part], self.seed, self.erasing) for part in (train, val, test)
        )
        if self.batch_size > len(self.train):
            raise ValueError(
                f"`batch_size` must not exceed the {len(self.train)} train images (the last short batch is dropped), "
                f"got {self.batch_size}. Lower it."
            )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return augmented, shuffled batches; order and augmentation are functions of (seed, epoch)."""
        sampler = EpochSampler(len(self.train), self.seed)
        epoch, batch = self._start()
        if epoch or batch:
            sampler.resume(epoch, batch * self.batch_size)
        return self._loader(self.train, sampler, train=True)

    def corrupted(self, name: str, severity: int) -> DataLoader[Batch]:
        """Return the test images, in their order, corrupted by `corrupt_images`."""
        pixels = np.rint(255 * self.test.images).astype(np.uint8).transpose(0, 2, 3, 1)
        images = (corrupt_images(pixels, name, severity).transpose(0, 3, 1, 2) / 255).astype(np.float32)
        part = DigitImages(images, self.test.labels, self.seed, self.erasing)
        return self._loader(part, ShardSampler(len(part)))
