# SPDX-License-Identifier: Apache-2.0
"""Corrupt images by noise, blur, less contrast and JPEG, at five severities.

The formulas and constants are those of CIFAR-10-C and CIFAR-100-C (Hendrycks and Dietterich, 2019) for Gaussian noise,
Gaussian blur, contrast and JPEG; the random numbers are others, and pixels are rounded where theirs are cut off.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from lightning_monocon.data.corrupted import check_severity
from lightning_monocon.data.keyed_random import key
from lightning_monocon.functional.checks import check_choice

Images = NDArray[np.uint8]

NOISE = (0.04, 0.06, 0.08, 0.09, 0.10)
"""Standard deviation of the noise of pixels in [0, 1], by severity."""

BLUR = (0.4, 0.6, 0.7, 0.8, 1.0)
"""Standard deviation of the blur, in pixels of an image of 32 pixels a side; it grows with the side."""

CONTRAST = (0.75, 0.5, 0.4, 0.3, 0.15)
"""What is left of a pixel's distance from its channel's mean."""

JPEG = (80, 65, 58, 50, 40)
"""Quality of the JPEG file."""

_BATCH = 1024  # images whose pixels are held as float64 at a time
_REACH = 4  # standard deviations at which the blur ends


def corrupt_images(images: Images, name: str, severity: int, seed: int = 0) -> Images:
    """Return corrupted images.

    Args:
        images: ``(N, H, W, C)``, uint8, of one or three channels.
        name: ``"noise"``, ``"blur"``, ``"contrast"`` or ``"jpeg"``.
        severity: From 1, mild, to 5.
        seed: Seed of the noise, which depends on it, the severity and an image's place alone.

    Returns:
        New images of the same shape, uint8.

    Raises:
        ValueError: If the name or the severity is unknown.
        ModuleNotFoundError: If Pillow is absent, which JPEG needs.
    """
    check_choice("name", name, CORRUPTIONS)
    change = _CHANGES[name]
    place = check_severity(severity) - 1
    found = np.empty_like(images)
    for start in range(0, len(images), _BATCH):
        part = slice(start, start + _BATCH)
        found[part] = change(images[part], place, key(seed, name, severity, start))
    return found


def _noise(images: Images, place: int, seed: int) -> Images:
    noise = np.random.default_rng(seed).normal(0.0, NOISE[place], images.shape)
    return _bytes(images / 255 + noise)


def _blur(images: Images, place: int, seed: int) -> Images:
    deviation = BLUR[place] * min(images.shape[1:3]) / 32
    reach = max(1, round(_REACH * deviation))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    weights /= weights.sum()

    blurred = images / 255
    for axis in (1, 2):
        size, ends = blurred.shape[axis], [(0, 0)] * 4
        ends[axis] = (reach, reach)
        padded, blurred = np.pad(blurred, ends, mode="edge"), np.zeros_like(blurred)
        for shift, weight in enumerate(weights):
            blurred += weight * padded.take(range(shift, shift + size), axis)
    return _bytes(blurred)


def _contrast(images: Images, place: int, seed: int) -> Images:
    pixels = images / 255
    means = pixels.mean((1, 2), keepdims=True)
    return _bytes(means + CONTRAST[place] * (pixels - means))


def _jpeg(images: Images, place: int, seed: int) -> Images:
    from PIL import Image

    found = np.empty_like(images)
    for number, image in enumerate(images):
        file = BytesIO()
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "JPEG", quality=JPEG[place])
        found[number] = np.asarray(Image.open(file)).reshape(image.shape)
    return found


def _bytes(pixels: NDArray[np.float64]) -> Images:
    found: Images = np.rint(255 * pixels.clip(0, 1)).astype(np.uint8)
    return found


_CHANGES: dict[str, Callable[[Images, int, int], Images]] = {
    "noise": _noise,
    "blur": _blur,
    "contrast": _contrast,
    "jpeg": _jpeg,
}
CORRUPTIONS = tuple(_CHANGES)
"""The names of the corruptions."""
