# SPDX-License-Identifier: Apache-2.0
"""Read image files in folders named after their classes, or strips of images in files named after them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightning_monocon.data.images.layout import images_under, is_image, subfolders, visible
from lightning_monocon.data.images.pixels import UnknownRange, ValueRange, read_picture
from lightning_monocon.data.images.table import ImageTable

OnError = Literal["raise", "skip", "refuse"]  # "refuse" is the older word for "raise"

_SHOWN = 5  # names in a message; the rest are counted
_DARK = 16  # the largest 12-bit value, 4095, when it is scaled as a value of 16 bits


class ImageFile(NamedTuple):
    """Name a file and its class, from its folder or its name."""

    path: Path
    label: str


def image_files(folder: Path) -> list[ImageFile]:
    """Return the image files of a folder, sorted by class and name.

    A subfolder is a class and its files are images, searched to any depth. Without subfolders a file is a class:
    ``apple.webp``, or ``apple-0.webp`` and ``apple-1.webp``. Files without the suffix of an image are skipped, and so
    are hidden files and folders, and those that tools leave (``.ipynb_checkpoints``, ``@eaDir``, ``__MACOSX``).
    """
    folders = subfolders(folder)
    if not folders:
        found = [ImageFile(path, re.sub(r"-\d+$", "", path.stem)) for path in visible(folder) if is_image(path)]
        return sorted(found, key=lambda file: (file.label, file.path))
    return [ImageFile(path, entry.name) for entry in folders for path in sorted(images_under(entry))]


def read_folder(
    folder: Path,
    *,
    size: int | None,
    strips: bool = False,
    channels: int = 3,
    classes: Sequence[str] | None = None,
    on_error: OnError = "raise",
    value_range: ValueRange | None = None,
) -> ImageTable:
    """Decode a folder of images.

    Args:
        folder: Folder in a form that `image_files` reads.
        size: Height and width. A larger or smaller image is scaled (its shorter side, bilinear) and cut to its centre.
            ``None`` requires that all have the same size.
        strips: Whether a file holds images of ``size`` stacked from top to bottom; they are not scaled.
        channels: 3 for colour, 1 for grey.
        classes: The classes, in the order of their numbers; by default the sorted names that are found.
        on_error: Action for a file that does not decode: ``"raise"`` an error, or ``"skip"`` it with one warning.
        value_range: Values that become black and white in images of more than 8 bits; see `eight_bit`.

    Raises:
        ValueError: If there is no image, an image does not decode or needs a range, sizes differ, or a class is unknown
            or left empty.
    """
    files = image_files(folder)
    if not files:
        raise ValueError(f"`root` must hold images in folders named after their classes; {str(folder)!r} has none.")
    names = tuple(classes) if classes is not None else tuple(sorted({file.label for file in files}))
    if unknown := sorted({file.label for file in files} - set(names)):
        raise ValueError(
            f"Labels must be among the {len(names)} classes of the train images; {str(folder)!r} has {len(unknown)} "
            f"others: {_some(unknown)}."
        )

    with ThreadPoolExecutor() as pool:  # Pillow decodes without Python's lock
        decoded = list(pool.map(lambda file: _decode(file.path, size, strips, channels, value_range), files))
    kept = [(images, file.label) for images, file in zip(decoded, files, strict=True) if not isinstance(images, str)]
    failed = tuple(f"{file.path} ({why})" for why, file in zip(decoded, files, strict=True) if isinstance(why, str))
    if failed:
        _report(failed, len(files), on_error)
    _demand_one_size((images for images, _ in kept), folder)
    if empty := sorted({file.label for file in files} - {label for _, label in kept}):
        raise ValueError(f"No image of the class {empty[0]!r} decodes. Fix its files or remove the class.")

    labels = np.repeat([names.index(label) for _, label in kept], [len(images) for images, _ in kept])
    images = np.concatenate([images for images, _ in kept])
    _warn_of_darkness(images, folder)
    return ImageTable(images, labels.astype(np.int64), names, failed).checked(str(folder))


def _decode(
    path: Path, size: int | None, strips: bool, channels: int, value_range: ValueRange | None
) -> NDArray[np.uint8] | str:
    """Return the images ``(n, H, W, C)`` of a file, or why there are none."""
    from PIL import Image, ImageOps

    try:
        picture = read_picture(path, channels, value_range)
        if size is not None and not strips and picture.size != (size, size):
            picture = ImageOps.fit(picture, (size, size), Image.Resampling.BILINEAR)
        pixels = np.asarray(picture)
    except UnknownRange as error:
        raise ValueError(
            f"`value_range` must be (black, white), such as (0, 1), for images of {error} values, which have no "
            f"value that means white; {str(path)!r} is one. Pass it to ImageFolderData, or save the images with 8 bits."
        ) from error
    except Exception as error:  # Pillow raises errors of any type for a damaged file; the message names it
        return f"{type(error).__name__}: {error}"
    height, width = pixels.shape[:2]
    if strips and size is not None and (width != size or height % size):
        return f"{width} x {height} pixels are not a strip of {size} x {size} images"
    return pixels.reshape(-1, size if strips and size else height, width, channels)


def _report(failed: tuple[str, ...], total: int, on_error: OnError) -> None:
    what = f"{len(failed)} of {total} image files do not decode: {_some(failed)}"
    if on_error != "skip":
        raise ValueError(f"{what}. Fix or remove them, or pass on_error='skip'.")
    warnings.warn(f"{what}. They are left out.", stacklevel=3)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return "; ".join(names[:_SHOWN]) + more


def _demand_one_size(parts: Iterable[NDArray[np.uint8]], folder: Path) -> None:
    sizes = {part.shape[1:3] for part in parts}
    if len(sizes) > 1:
        (small, large) = sorted(sizes)[0], sorted(sizes)[-1]
        raise ValueError(
            f"`image_size` must be given for images of different sizes; {str(folder)!r} has some of {small} and some "
            f"of {large} pixels."
        )


def _warn_of_darkness(images: NDArray[np.uint8], folder: Path) -> None:
    if (largest := int(images.max())) <= _DARK:
        warnings.warn(
            f"No pixel of the images in {str(folder)!r} is over {largest} of 255, so they are nearly black. If they "
            "hold 12-bit values in 16-bit files, pass value_range=(0, 4095).",
            stacklevel=3,
        )
