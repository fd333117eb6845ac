# SPDX-License-Identifier: Apache-2.0
"""Turn uniforms into operations, magnitudes and rectangles, for a sample in plain Python, for a batch in torch.

TrivialAugmentWide (Müller & Hutter, ICCV 2021, arXiv 2103.10158) draws one of 14 operations, one of 31 magnitudes and
a sign; the ranges are those of torchvision's ``TrivialAugmentWide``. RandomErasing (Zhong et al., AAAI 2020, arXiv
1708.04896) draws whether, then up to ten times an area and an aspect, then a corner, as torchvision's does.

Columns of a sample's uniforms: 0 operation, 1 magnitude, 2 sign, 3 erase or not, 4-13 areas, 14-23 aspects, 24 top,
25 left.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

OPERATIONS = (
    "Identity",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Rotate",
    "Brightness",
    "Color",
    "Contrast",
    "Sharpness",
    "Posterize",
    "Solarize",
    "AutoContrast",
    "Equalize",
)
"""Names in torchvision's order."""
BINS = 31
TRIES = 10
DRAWS = 4 + 2 * TRIES + 2
"""Uniforms per sample."""

_WIDEST = {"ShearX": 0.99, "ShearY": 0.99, "TranslateX": 32.0, "TranslateY": 32.0, "Rotate": 135.0}
_WIDEST |= dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness"), 0.99)


class Erasing(NamedTuple):
    """Hold the settings of RandomErasing."""

    share: float
    """Share of the images that lose a rectangle."""
    scale: tuple[float, float]
    """Least and greatest area, as shares of the image's."""
    ratio: tuple[float, float]
    """Least and greatest height over width."""


def index(name: str) -> int:
    """Return the number of an operation."""
    return OPERATIONS.index(name)


@lru_cache
def magnitudes(device: torch.device) -> Tensor:
    """Return the magnitudes without sign, shape ``(14, 31)``, float64; cached by device, since a transfer waits.

    Shears are slopes, translations whole pixels, rotations degrees, enhancements the difference of the factor from 1;
    posterising has the number of bits that are kept, solarising the threshold.
    """
    rows = {name: torch.linspace(0, widest, BINS) for name, widest in _WIDEST.items()}  # float32, as torchvision's
    for name in ("TranslateX", "TranslateY"):
        rows[name] = rows[name].trunc()
    rows["Posterize"] = 8 - (torch.arange(BINS) / ((BINS - 1) / 6)).round()
    rows["Solarize"] = torch.linspace(255, 0, BINS)
    table = [rows.get(name, torch.zeros(BINS)).double() for name in OPERATIONS]
    return torch.stack(table).to(device)


_TABLE: list[list[float]] = magnitudes(torch.device("cpu")).tolist()


def operation(random: NDArray[np.float64]) -> tuple[str, float]:
    """Return one sample's operation and magnitude, sign included.

    Args:
        random: Uniforms in [0, 1), shape ``(DRAWS,)``.
    """
    name = OPERATIONS[int(random[0] * len(OPERATIONS))]
    magnitude = _TABLE[index(name)][int(random[1] * BINS)]
    return name, -magnitude if name in _WIDEST and random[2] >= 0.5 else magnitude


def rectangle(random: NDArray[np.float64], height: int, width: int, erasing: Erasing) -> tuple[int, int, int, int]:
    """Return the rectangle ``(top, left, height, width)`` of ``(DRAWS,)`` uniforms; all 0 if nothing is erased."""
    if random[3] >= erasing.share:
        return 0, 0, 0, 0
    low, high = map(math.log, erasing.ratio)
    for area, aspect in zip(random[4 : 4 + TRIES], random[4 + TRIES : 4 + 2 * TRIES], strict=True):
        pixels = height * width * (erasing.scale[0] + (erasing.scale[1] - erasing.scale[0]) * float(area))
        ratio = math.exp(low + (high - low) * float(aspect))
        tall, wide = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
        if tall < height and wide < width:
            return int(random[-2] * (height - tall + 1)), int(random[-1] * (width - wide + 1)), tall, wide
    return 0, 0, 0, 0


def operations(random: Tensor) -> tuple[Tensor, Tensor]:
    """Return the operations' numbers and their magnitudes, sign included; both ``(B,)``.

    Args:
        random: Uniforms in [0, 1), shape ``(B, DRAWS)``, on any device.
    """
    number = (random[:, 0] * len(OPERATIONS)).long()
    magnitude = magnitudes(random.device)[number, (random[:, 1] * BINS).long()]
    signed = (number >= index("ShearX")) & (number <= index("Sharpness"))
    return number, torch.where(signed & (random[:, 2] >= 0.5), -magnitude, magnitude)


def rectangles(random: Tensor, height: int, width: int, erasing: Erasing) -> Tensor:
    """Return the rectangles ``(B, 4)`` of ``(B, DRAWS)`` uniforms on any device; all 0 if nothing is erased."""
    low, high = map(math.log, erasing.ratio)
    pixels = height * width * (erasing.scale[0] + (erasing.scale[1] - erasing.scale[0]) * random[:, 4 : 4 + TRIES])
    ratio = torch.exp(low + (high - low) * random[:, 4 + TRIES : 4 + 2 * TRIES])
    tall, wide = (pixels * ratio).sqrt().round(), (pixels / ratio).sqrt().round()
    fits = (tall < height) & (wide < width)
    first = fits.int().argmax(dim=1, keepdim=True)  # the first that fits
    tall, wide = tall.gather(1, first)[:, 0], wide.gather(1, first)[:, 0]
    corner = ((random[:, -2] * (height - tall + 1)).floor(), (random[:, -1] * (width - wide + 1)).floor())
    due = (random[:, 3] < erasing.share) & fits.any(dim=1)
    return torch.where(due[:, None], torch.stack([*corner, tall, wide], dim=1), 0).long()
