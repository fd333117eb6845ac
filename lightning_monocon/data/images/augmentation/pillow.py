# SPDX-License-Identifier: Apache-2.0
"""Apply the 14 operations to one Pillow image, as torchvision does: the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


def transform(image: Image, name: str, magnitude: float) -> Image:
    """Return an image ``L`` or ``RGB`` after one of `draws.OPERATIONS`; nearest neighbour, black where unknown."""
    from PIL import ImageEnhance, ImageOps

    if name == "Identity":
        return image
    if name in ("ShearX", "ShearY", "TranslateX", "TranslateY"):
        return _affine(image, name, magnitude)
    if name == "Rotate":
        return image.rotate(magnitude, fillcolor=0 if image.mode == "L" else (0, 0, 0))
    if name == "Posterize":
        return ImageOps.posterize(image, int(magnitude))
    if name == "Solarize":
        return ImageOps.solarize(image, magnitude)  # type: ignore[arg-type]  # compares, so a float will do
    if name in ("AutoContrast", "Equalize"):
        return (ImageOps.autocontrast if name == "AutoContrast" else ImageOps.equalize)(image)
    enhance: type[ImageEnhance.Brightness | ImageEnhance.Color | ImageEnhance.Contrast | ImageEnhance.Sharpness]
    enhance = getattr(ImageEnhance, name)
    return enhance(image).enhance(1.0 + magnitude)


def _affine(image: Image, name: str, magnitude: float) -> Image:
    from PIL.Image import Resampling, Transform

    # output pixel (x, y) is input pixel (a x + b y + c, d x + e y + f): shears keep the upper left corner
    matrix = {
        "ShearX": (1.0, magnitude, 0.0, 0.0, 1.0, 0.0),
        "ShearY": (1.0, 0.0, 0.0, magnitude, 1.0, 0.0),
        "TranslateX": (1.0, 0.0, -magnitude, 0.0, 1.0, 0.0),
        "TranslateY": (1.0, 0.0, 0.0, 0.0, 1.0, -magnitude),
    }[name]
    return image.transform(image.size, Transform.AFFINE, matrix, Resampling.NEAREST)
