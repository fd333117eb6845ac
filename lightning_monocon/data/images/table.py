# SPDX-License-Identifier: Apache-2.0
"""Hold decoded images with their labels, checked once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self


class ImageTable(NamedTuple):
    """Hold ``N`` images of one size with their classes."""

    images: NDArray[np.uint8]
    """``(N, H, W, C)``, 0 to 255."""
    labels: NDArray[np.int64]
    """``(N,)``, positions in ``classes``."""
    classes: tuple[str, ...]
    """Names of the classes."""
    unreadable: tuple[str, ...] = ()
    """Files that were left out because they did not decode, each with the reason."""

    def checked(self, source: str) -> Self:
        """Return the table; raise ValueError unless it holds images of bytes with one label each, all in range."""
        if self.images.dtype != np.uint8:
            raise ValueError(f"Pixels must be uint8 values from 0 to 255; those of {source} are {self.images.dtype}.")
        if self.images.ndim != 4 or not len(self.images) or len(self.labels) != len(self.images):  # (N, H, W, C)
            raise ValueError(
                f"`root` must hold one label per image; {source} has images of shape {self.images.shape} and "
                f"{len(self.labels)} labels."
            )
        wrong = np.flatnonzero((self.labels < 0) | (self.labels >= len(self.classes)))
        if len(wrong):
            raise ValueError(
                f"`labels` must lie between 0 and {len(self.classes) - 1}; {len(wrong)} of {source} do not, the first "
                f"is {self.labels[wrong[0]]} at image {wrong[0]}. The label file belongs to another data set or is "
                "damaged."
            )
        return self
