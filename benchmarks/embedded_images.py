# SPDX-License-Identifier: Apache-2.0
"""Embed random parts of CIFAR-100 or Fashion-MNIST, once, by EfficientNet-Lite0 as it comes from ImageNet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lightning_monocon.data import CIFAR100Data, FashionMNISTData
from lightning_monocon.encoders import EfficientNetLite0
from lightning_monocon.encoders.image.efficientnet_lite_weights import PACKAGED

PIXELS, TRAIN, TEST = 64, 20_000, 6_000


@dataclass(frozen=True)
class ImageSet:
    """Say how many images of a set are embedded."""

    data: type[CIFAR100Data | FashionMNISTData]
    channels: int
    train: int
    test: int


SETS = {
    "cifar100": ImageSet(CIFAR100Data, 3, TRAIN, TEST),
    "fashion_mnist": ImageSet(FashionMNISTData, 1, 5_000, 3_000),
}


def features(data: Path, scratch: Path, name: str = "cifar100") -> tuple[Path, Path]:
    """Return the files of train and test: arrays `embeddings` ``(N, 1280)`` and `labels`, kept in `scratch`."""
    scratch.mkdir(parents=True, exist_ok=True)
    files = tuple(scratch / f"{name}_{part}.npz" for part in ("train", "test"))
    if all(file.is_file() for file in files):
        return files[0], files[1]
    own, encoder = SETS[name], EfficientNetLite0(PACKAGED, image_size=PIXELS).eval()
    mean, std = (values[: own.channels] for values in (encoder.preparation.mean, encoder.preparation.std))
    images = own.data(str(data), mean=mean, std=std, trivial=False, erasing=0.0)
    images.setup("test")
    order = np.random.default_rng(0)
    for file, part, count in zip(reversed(files), (images.test, images.train), (own.test, own.train), strict=True):
        chosen = order.permutation(len(part))[:count].tolist()
        found = [part.__getitems__(chosen[start : start + 100]) for start in range(0, count, 100)]
        with torch.inference_mode():
            rows = torch.cat([encoder(batch.expand(-1, 3, -1, -1)) for batch, _ in found])
        np.savez(file, embeddings=rows.numpy(), labels=torch.cat([labels for _, labels in found]).numpy())
    return files[0], files[1]
