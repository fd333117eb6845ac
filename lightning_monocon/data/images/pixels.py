# SPDX-License-Identifier: Apache-2.0
"""Turn an image file of any of Pillow's modes into 8-bit pixels, each mode by a rule of its own.

Pillow's own `convert` clips 16-bit and floating-point values to 0 to 255, which makes such images white or black, and
drops transparency, which shows the hidden colour of transparent pixels.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

ValueRange: TypeAlias = tuple[float, float]
"""The values that become black and white."""

_PLAIN = frozenset(("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"))
_TRANSPARENT = frozenset(("LA", "PA", "RGBA", "RGBa"))
_ORIENTATION, _BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 274, 258, 262, 339  # tags of EXIF and TIFF
_WHITE_IS_ZERO, _UNSIGNED, _SIGNED = 0, 1, 2  # values of the last two
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


class UnknownRange(ValueError):
    """Report an image without a value that means white; the text is the kind of its values."""


def read_picture(path: Path, channels: int, value_range: ValueRange | None = None) -> Image:
    """Return the first image of a file, upright and opaque, in the mode ``L`` or ``RGB``.

    Args:
        path: The file.
        channels: 3 for colour, 1 for grey.
        value_range: Values that become black and white in an image of more than 8 bits; see `eight_bit`.

    Raises:
        UnknownRange: If the image needs a ``value_range``.
        Exception: Any error that Pillow raises for a file that it cannot decode.
    """
    from PIL import Image

    with Image.open(path) as opened:
        opened.load()
        picture = eight_bit(opened, value_range)
        if turn := _TURNS.get(_orientation(opened)):
            picture = picture.transpose(Image.Transpose[turn])
    return picture.convert("L" if channels == 1 else "RGB")


def eight_bit(picture: Image, value_range: ValueRange | None = None) -> Image:
    """Return an image in the mode ``L`` or ``RGB``.

    Transparency is laid over white. Values of 16 bits are scaled from their whole range, 0 to 65535, or from
    ``value_range``. Integers of 32 bits and floating values do not say which of them is white, so they need a
    ``value_range``. Values outside it are clipped.

    Raises:
        UnknownRange: If there is no range.
        ValueError: If a value is not finite, or the mode is not one of those that have a rule.
    """
    from PIL import Image

    mode = picture.mode
    if mode in ("I", "F") or mode.startswith("I;16"):
        return Image.fromarray(_scaled(picture, value_range))
    if mode not in _PLAIN | _TRANSPARENT:
        raise ValueError(f"an image of mode {mode} has no single form in RGB; save it as RGB")
    if _tag(picture, _SAMPLE_FORMAT, _UNSIGNED) == _SIGNED:
        raise ValueError("pixels are signed 8-bit values, which Pillow reads as unsigned; save them as unsigned")
    if mode in _TRANSPARENT or "transparency" in picture.info:
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
    return picture.copy() if mode == "L" else picture.convert("RGB")


def _scaled(picture: Image, value_range: ValueRange | None) -> NDArray[np.uint8]:
    values = np.asarray(picture)
    if picture.mode == "I" and picture.format == "TIFF" and _tag(picture, _SAMPLE_FORMAT, _UNSIGNED) == _UNSIGNED:
        values = values.view(np.uint32)  # Pillow has no unsigned mode, and its large values are negative
    if not np.isfinite(values).all():
        raise ValueError("values must be finite, but some are NaN or infinite")
    low, high = value_range or _whole_range(picture)
    levels = np.rint((np.clip(values.astype(np.float64), low, high) - low) * (255 / (high - low))).astype(np.uint8)
    if _tag(picture, _PHOTOMETRIC, None) == _WHITE_IS_ZERO:  # Pillow inverts these at 8 bits only
        levels = 255 - levels
    if "transparency" in picture.info:  # of a 16-bit PNG: the value that is transparent
        levels[values == picture.info["transparency"]] = 255
    return levels


def _whole_range(picture: Image) -> ValueRange:
    if picture.mode.startswith("I;16"):
        return 0, 2 ** int(_tag(picture, _BITS, 16)) - 1  # type: ignore[call-overload]  # the tag holds a number
    if picture.format in ("PNG", "PPM"):  # no more than 16 bits; Pillow scales a smaller maximum of a PGM up to it
        return 0, 65535
    raise UnknownRange("floating" if picture.mode == "F" else "32-bit")


def _tag(picture: Image, number: int, default: object) -> object:
    """Return the first value of a TIFF's tag, or the default for another file."""
    value = getattr(picture, "tag_v2", {}).get(number, default)
    return value[0] if isinstance(value, tuple) else value


def _orientation(picture: Image) -> int:
    if picture.format == "TIFF":  # Pillow turns these itself as it loads them; older releases leave the tag in place
        return 1
    try:
        return int(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # a damaged tag does not affect the pixels, and Pillow raises one of many errors for it
        return 1
