# SPDX-License-Identifier: Apache-2.0
"""Describe how images must be prepared for a pretrained model."""

from __future__ import annotations

from typing import NamedTuple


class Preparation(NamedTuple):
    """Describe the images that a model was trained on.

    Attributes:
        size: Height and width.
        mean: Mean of each channel of images in [0, 1].
        std: Standard deviation of each channel.
        interpolation: Name of the filter that resized the images.
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
