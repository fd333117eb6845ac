# SPDX-License-Identifier: Apache-2.0
"""Load a folder of images as a data module."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from lightning_monocon.data.images import ImageData
from lightning_monocon.data.images.cache import cache_key, cached
from lightning_monocon.data.images.files import image_files, read_folder
from lightning_monocon.data.images.layout import Role, find_parts, subfolders
from lightning_monocon.data.images.table import ImageTable
from lightning_monocon.data.splits import stratified_split


class ImageFolderData(ImageData):
    """Load any folder of images with a subfolder for each class.

    If ``root`` has a subfolder ``train``, this holds the classes, and so does each other part. ``test`` beside it is
    the test part; without one it is ``eval``, ``val``, ``valid``, ``validation`` or ``dev``. Beside a test part, one of
    these is used for validation. Case does not matter, and ``training_set`` is a train part too. Otherwise ``root``
    holds the classes. If there is no other part, a stratified part of the images becomes the test set.

    An image is turned by its orientation tag, and transparent pixels are laid over white. Images of 16 bits are scaled
    to 8; images of floating-point values need a ``value_range``.

    Args:
        root: Folder of the data.
        batch_size: Images per step and rank.
        image_size: Height and width, to which images are scaled and cut. ``None`` requires that all have one size.
        channels: 3 for colour, 1 for grey; mean and deviation have as many values.
        test_size: Share of the images kept for the test, if there is no folder for it.
        value_range: Values that become black and white in images of more than 8 bits, such as ``(0, 1)`` for floating
            point or ``(0, 4095)`` for 12-bit values in 16-bit files; ``None`` takes the whole range of 16 bits and
            refuses floating-point and 32-bit values, which have no such range.
        kwargs: The other arguments of `ImageData`.

    Raises:
        ValueError: If a value breaks its rule, or the data are missing or damaged.
    """

    def __init__(
        self,
        root: str,
        batch_size: int = 256,
        *,
        image_size: int | None = None,
        channels: int = 3,
        test_size: float = 0.2,
        value_range: tuple[float, float] | None = None,
        **kwargs: Any,  # noqa: ANN401  # those of `ImageData`, which the command line finds by their names
    ) -> None:
        if channels == 1:  # the means of ImageNet's channels, of which grey has one
            kwargs = {**dict.fromkeys(("mean", "std")), **kwargs}
            kwargs["mean"] = kwargs["mean"] or (sum(self.default_mean) / 3,)
            kwargs["std"] = kwargs["std"] or (sum(self.default_std) / 3,)

        super().__init__(root, batch_size, **kwargs)
        if channels not in (1, 3) or not 0 < test_size < 1 or (image_size is not None and image_size < 1):
            raise ValueError(
                "`channels` must be 1 or 3, `image_size` positive and `test_size` strictly between 0 and 1; got "
                f"{channels}, {image_size} and {test_size}."
            )
        if value_range is not None and not -math.inf < value_range[0] < value_range[1] < math.inf:
            raise ValueError(f"`value_range` must be two finite numbers in ascending order, got {value_range}.")

        self.image_size, self.channels, self.test_size = image_size, channels, test_size
        # one form of it, since it is part of the key of the cache
        self.value_range = None if value_range is None else (float(value_range[0]), float(value_range[1]))
        self._held_back: ImageTable | None = None
        self._parts: dict[Role, Path] | None = None

    def roles(self) -> tuple[Role, ...]:
        """Return the parts, with ``"val"`` if there are folders for validation and for the test."""
        return ("train", "val", "test") if "val" in self._folders() else ("train", "test")

    def read(self, role: Role) -> ImageTable:
        """Return the images of a part, sorted by class and name."""
        folders = self._folders()
        if role in folders and len(folders) > 1:
            return self._decoded(folders[role], None if role == "train" else self._tables["train"].classes)
        if role == "test" and self._held_back is not None:
            return self._held_back
        whole = self._decoded(folders.get("train", self.root), None)
        size = round(self.test_size * len(whole.labels))
        rest, part = stratified_split(whole.labels, size, self.split_seed)
        self._held_back = ImageTable(whole.images[part], whole.labels[part], whole.classes)
        return ImageTable(whole.images[rest], whole.labels[rest], whole.classes, whole.unreadable)

    def _folders(self) -> dict[Role, Path]:
        """Return the folders of the parts; none if ``root`` holds the classes."""
        if self._parts is None:
            if not self.root.is_dir():
                raise ValueError(f"`root` must be a folder of images; got {str(self.root)!r}, which is not a folder.")
            self._parts = find_parts(self.root)
        return self._parts

    def _decoded(self, folder: Path, classes: tuple[str, ...] | None) -> ImageTable:
        files = [file.path for file in image_files(folder)]
        if files and not subfolders(folder):
            raise ValueError(
                f"`root` must hold images in folders named after their classes; {str(folder)!r} has {len(files)} "
                "images itself and no such folder. Sort them into folders, or remove this one."
            )
        options = (self.image_size, self.channels, classes, self.on_error, self.value_range)

        def decode() -> ImageTable:
            return read_folder(
                folder,
                size=self.image_size,
                channels=self.channels,
                classes=classes,
                on_error=self.on_error,
                value_range=self.value_range,
            )

        return cached(self.cache, cache_key(files, *options), decode)
