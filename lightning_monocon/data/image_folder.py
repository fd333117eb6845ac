# SPDX-License-Identifier: Apache-2.0
"""A folder of images as a data module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning_monocon.data.image_cache import cache_key, cached
from lightning_monocon.data.image_files import image_files, read_folder
from lightning_monocon.data.image_table import ImageTable
from lightning_monocon.data.images import ImageData, Role
from lightning_monocon.data.splits import stratified_split


class ImageFolderData(ImageData):
    """Any folder of images with a subfolder for each class.

    With subfolders ``train`` and ``test`` (or ``val``) in ``root``, each of these holds the classes; otherwise ``root``
    holds them and a stratified part becomes the test set.

    Args:
        root: Folder of the data.
        batch_size: Images per step and rank.
        image_size: Height and width, to which images are scaled and cut. ``None`` demands that all have one size.
        channels: 3 for colour, 1 for grey; mean and deviation have as many values.
        test_size: Share of the images kept for the test, where there is no folder for it.
        kwargs: The other arguments of `ImageData`.

    Raises:
        ValueError: If a value is outside its rule, or the data are not there or damaged.
    """

    def __init__(
        self,
        root: str,
        batch_size: int = 256,
        *,
        image_size: int | None = None,
        channels: int = 3,
        test_size: float = 0.2,
        **kwargs: Any,  # noqa: ANN401  # those of `ImageData`, which the command line finds by their names
    ) -> None:
        super().__init__(root, batch_size, **kwargs)
        if channels not in (1, 3) or not 0 < test_size < 1 or (image_size is not None and image_size < 1):
            raise ValueError(
                "`channels` must be 1 or 3, `image_size` positive and `test_size` strictly between 0 and 1; got "
                f"{channels}, {image_size} and {test_size}."
            )
        self.image_size, self.channels, self.test_size = image_size, channels, test_size
        self._held_back: ImageTable | None = None

    def read(self, role: Role) -> ImageTable:
        """Return the train or the test images, sorted by class and name."""
        test = next((self.root / name for name in ("test", "val") if (self.root / name).is_dir()), None)
        if (self.root / "train").is_dir() and test is not None:
            classes = None if role == "train" else self._tables["train"].classes
            return self._decoded(self.root / "train" if role == "train" else test, classes)
        if role == "test" and self._held_back is not None:
            return self._held_back
        whole = self._decoded(self.root, None)
        size = round(self.test_size * len(whole.labels))
        rest, part = stratified_split(whole.labels, size, self.split_seed)
        self._held_back = ImageTable(whole.images[part], whole.labels[part], whole.classes)
        return ImageTable(whole.images[rest], whole.labels[rest], whole.classes, whole.unreadable)

    def _decoded(self, folder: Path, classes: tuple[str, ...] | None) -> ImageTable:
        if not folder.is_dir():
            raise ValueError(f"`root` must be a folder of images, got {str(folder)!r}, which is none.")

        def decode() -> ImageTable:
            return read_folder(
                folder, size=self.image_size, channels=self.channels, classes=classes, on_error=self.on_error
            )

        files = [file.path for file in image_files(folder)]
        key = cache_key(files, self.image_size, self.channels, classes, self.on_error)
        return cached(self.cache, key, decode)
