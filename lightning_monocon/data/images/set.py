# SPDX-License-Identifier: Apache-2.0
"""Serve a part of a table of images as a PyTorch data set that is fetched batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from lightning_monocon.data.images.augmentation import ImageAugmentation
from lightning_monocon.data.images.corruptions import corrupt_images
from lightning_monocon.data.images.table import ImageTable
from lightning_monocon.data.keyed_random import uniform

Batch: TypeAlias = tuple[Tensor | tuple[Tensor, Tensor], Tensor]
Place = Literal["cpu", "device"]


class ImageSet(Dataset[Batch]):
    """Serve images of a table: a plain index returns the image as it is, an ``(epoch, index)`` key an augmented one.

    A batch is ``(images, labels)``: float32 ``(B, C, H, W)``, normalised, and ``(B,)``. Augmented by the worker, image
    by image, it has the same form; for the device it is ``((uint8 images, uniforms (B, DRAWS)), labels)``.

    Args:
        table: The images.
        part: Indices of the part in the table, in the order of this set.
        augmentation: Augmentation and normalisation.
        seed: Seed of the augmentation.
        augment_on: Where to augment, ``"cpu"`` or ``"device"``.
    """

    def __init__(
        self, table: ImageTable, part: NDArray[np.int64], augmentation: ImageAugmentation, seed: int, augment_on: Place
    ) -> None:
        self.images, self.part, self.labels = table.images, part, table.labels[part]
        self.ids = part
        """Position of each image in the table, by which `monocon predict` names its embedding."""
        self.label_kinds: NDArray[np.str_] | None = None
        """Kind of each label, ``"right"`` or ``"wrong"``, which `SemanticLandscape` reads; None if not known."""
        self.augmentation, self.seed, self.augment_on = augmentation, seed, augment_on

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.part)

    def __getitem__(self, item: int | tuple[int, int]) -> Batch:
        """Return one image ``(C, H, W)``, for the device with its uniforms, and its label ``()``."""
        images, labels = self.__getitems__([item])
        return images[0] if isinstance(images, Tensor) else (images[0][0], images[1][0]), labels[0]

    def __getitems__(self, items: Sequence[int | tuple[int, int]]) -> Batch:
        """Return a batch; PyTorch's fetcher calls this once per batch."""
        keys = np.asarray(items, dtype=np.int64)
        indices = keys if keys.ndim == 1 else keys[:, 1]
        pixels, labels = self.images[self.part[indices]], torch.from_numpy(self.labels[indices])
        if keys.ndim == 1:
            return self.augmentation.plain(_channels_first(pixels)), labels
        random = uniform(self.seed, keys[:, 0], indices, self.augmentation.DRAWS)
        if self.augment_on == "device":
            return (_channels_first(pixels), torch.from_numpy(random)), labels
        pairs = zip(pixels, random, strict=True)
        return torch.stack([self.augmentation.per_sample(image, draws) for image, draws in pairs]), labels

    def corrupted(self, name: str, severity: int) -> ImageSet:
        """Return the same images corrupted by `corrupt_images`; the random numbers are the same for every seed."""
        found = copy(self)
        found.images, found.part = corrupt_images(self.images[self.part], name, severity), np.arange(len(self))
        return found


def _channels_first(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
