# SPDX-License-Identifier: Apache-2.0
"""Find held-out images that were trained on: those with the same pixels."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from lightning_monocon.data.splits import Indices


def pixel_digests(images: NDArray[np.uint8], part: Indices) -> list[bytes]:
    """Return a digest of each image of a part, the same for images with the same pixels.

    Args:
        images: Images ``(N, H, W, C)``; read one by one, since their file may be larger than memory.
        part: Indices of the part, ``(n,)``.
    """
    return [hashlib.sha256(images[i].tobytes()).digest() for i in part]


def new_images(images: NDArray[np.uint8], part: Indices, seen: set[bytes]) -> Indices:
    """Return the indices of a part whose images have none of the digests that are ``seen``."""
    return part[[digest not in seen for digest in pixel_digests(images, part)]]
