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


def check_image_size(size: object) -> None:
    """Check the height and width of square images; None leaves them as they are.

    Raises:
        TypeError: If it is neither a whole number nor None.
        ValueError: If it is not positive.
    """
    if size is not None and (isinstance(size, bool) or not isinstance(size, int)):
        raise TypeError(f"`image_size` must be a whole number of pixels or None, got {size!r}. Try 224.")
    if size is not None and size < 1:
        raise ValueError(f"`image_size` must be a positive number of pixels or None, got {size}. Try 224.")
