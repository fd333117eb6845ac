# SPDX-License-Identifier: Apache-2.0
"""Embed random parts of CIFAR-100, once, by EfficientNet-Lite0 as it comes from ImageNet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from lightning_monocon.data import CIFAR100Data
from lightning_monocon.encoders import EfficientNetLite0
from lightning_monocon.encoders.image.efficientnet_lite_weights import PACKAGED

PIXELS, TRAIN, TEST = 64, 20_000, 6_000


def features(data: Path, scratch: Path) -> tuple[Path, Path]:
    """Return the files of train and test: arrays `embeddings` ``(N, 1280)`` and `labels`, kept in a folder."""
    files = tuple(scratch / f"cifar100_{name}.npz" for name in ("train", "test"))
    if all(file.is_file() for file in files):
        return files[0], files[1]
    encoder = EfficientNetLite0(PACKAGED, image_size=PIXELS).eval()
    mean, std = encoder.preparation.mean, encoder.preparation.std
    images = CIFAR100Data(str(data), mean=mean, std=std, trivial=False, erasing=0.0)
    images.setup("test")
    order = np.random.default_rng(0)
    for file, part, count in zip(reversed(files), (images.test, images.train), (TEST, TRAIN), strict=True):
        chosen = order.permutation(len(part))[:count].tolist()
        found = [part.__getitems__(chosen[start : start + 100]) for start in range(0, count, 100)]
        with torch.inference_mode():
            rows = torch.cat([encoder(batch) for batch, _ in found])
        np.savez(file, embeddings=rows.numpy(), labels=torch.cat([labels for _, labels in found]).numpy())
    return files[0], files[1]
