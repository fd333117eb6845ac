# SPDX-License-Identifier: Apache-2.0
"""Load Fashion-MNIST from its four published files."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from lightning_monocon.data.images import ImageData
from lightning_monocon.data.images.archives import download, read_idx
from lightning_monocon.data.images.layout import Role
from lightning_monocon.data.images.table import ImageTable


class FashionMNISTData(ImageData):
    """Load Fashion-MNIST: 60 000 and 10 000 grey images of 28 x 28 in ten classes (Xiao et al., 2017).

    See arXiv 1708.07747. The four published IDX files, gzipped or not, are in ``root`` or where torchvision puts
    them, ``root/FashionMNIST/raw``. The arguments are those of `ImageData`; mean and standard deviation are by default
    those of the train images.
    """

    default_mean, default_std = (0.2860,), (0.3530,)

    _CLASSES = ("top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
    _PREFIX: ClassVar[dict[Role, str]] = {"train": "train", "test": "t10k"}

    def fetch(self) -> None:
        """Let torchvision download missing files."""
        try:
            self._file("t10k-labels-idx1-ubyte")
        except ValueError:
            download("FashionMNIST", self.root)

    def read(self, role: Role) -> ImageTable:
        """Return the train or the test images, in the order of the files."""
        images = self._file(f"{self._PREFIX[role]}-images-idx3-ubyte")
        labels = read_idx(self._file(f"{self._PREFIX[role]}-labels-idx1-ubyte"))
        table = ImageTable(read_idx(images)[..., None], labels.astype(np.int64), self._CLASSES)
        return table.checked(str(images))

    def _file(self, name: str) -> Path:
        folders = (self.root, self.root / "FashionMNIST" / "raw")
        for path in (folder / f"{name}{suffix}" for folder in folders for suffix in (".gz", "")):
            if path.is_file():
                return path
        raise ValueError(
            f"`root` must hold the file {name}.gz, itself or in FashionMNIST/raw; {str(self.root)!r} does not. Pass "
            "download=True, or another folder."
        )
