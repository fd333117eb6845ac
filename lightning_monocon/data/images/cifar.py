# SPDX-License-Identifier: Apache-2.0
"""Load CIFAR-10 and CIFAR-100 in any of their forms."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from lightning_monocon.data.images import ImageData
from lightning_monocon.data.images.archives import download, read_cifar_binary, read_cifar_python, read_plain_pickle
from lightning_monocon.data.images.cache import cache_key, cached
from lightning_monocon.data.images.files import image_files, read_folder
from lightning_monocon.data.images.layout import Role, subfolders
from lightning_monocon.data.images.table import ImageTable

_CIFAR_SIDE = 32


class _Archive(NamedTuple):
    """Describe how one of CIFAR's two data sets is published."""

    dataset: str
    binary: str
    python: str
    binary_files: dict[Role, tuple[str, ...]]
    python_files: dict[Role, tuple[str, ...]]
    binary_names: str
    python_names: tuple[str, str]
    label_bytes: int
    label_key: str


class _CIFAR(ImageData):
    _archive: ClassVar[_Archive]

    def fetch(self) -> None:
        """Let torchvision download missing files."""
        if not self._found():
            download(self._archive.dataset, self.root)

    def read(self, role: Role) -> ImageTable:
        """Return the train or the test images, in the order of the files."""
        archive, found = self._archive, self._found()
        if not found:
            raise ValueError(
                f"`root` must hold one of the folders {archive.python}, {archive.binary}, or train and test; "
                f"{str(self.root)!r} has none. Pass download=True, or another folder."
            )

        if found == archive.python:
            files = [self.root / found / name for name in archive.python_files[role]]
            file, key = archive.python_names
            names = [name.decode() for name in read_plain_pickle(self.root / found / file)[key]]
            return read_cifar_python(files, archive.label_key, names)
        if found == archive.binary:
            files = [self.root / found / name for name in archive.binary_files[role]]
            names = (self.root / found / archive.binary_names).read_text(encoding="utf-8").split()
            return read_cifar_binary(files, archive.label_bytes, names)
        return self._from_files(role)

    def _from_files(self, role: Role) -> ImageTable:
        folder = self.root / role
        files = image_files(folder)
        strips = not subfolders(folder)
        classes = None if role == "train" else self._tables["train"].classes

        def decode() -> ImageTable:
            return read_folder(folder, size=_CIFAR_SIDE, strips=strips, classes=classes, on_error=self.on_error)

        return cached(self.cache, cache_key([file.path for file in files], classes, self.on_error), decode)

    def _found(self) -> str | None:
        for name in (self._archive.python, self._archive.binary):
            if (self.root / name).is_dir():
                return name
        return "files" if all((self.root / name).is_dir() for name in ("train", "test")) else None


class CIFAR10Data(_CIFAR):
    """Load CIFAR-10: 50 000 and 10 000 colour images of 32 x 32 in ten classes (Krizhevsky, 2009).

    It is searched under ``root`` in this order: the official archive unpacked (``cifar-10-batches-py`` or
    ``cifar-10-batches-bin``), then folders ``train`` and ``test`` of image files: a folder for each class, or a file
    for each class with its 32 x 32 images stacked from top to bottom, such as ``train/frog.webp``. The arguments are
    those of `ImageData`; mean and standard deviation are by default ImageNet's, as in the reference.
    """

    _archive = _Archive(
        dataset="CIFAR10",
        binary="cifar-10-batches-bin",
        python="cifar-10-batches-py",
        binary_files={"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)},
        python_files={"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)},
        binary_names="batches.meta.txt",
        python_names=("batches.meta", "label_names"),
        label_bytes=1,
        label_key="labels",
    )


class CIFAR100Data(_CIFAR):
    """Load CIFAR-100: 50 000 and 10 000 colour images of 32 x 32 in a hundred classes (Krizhevsky, 2009), fine labels.

    It is searched under ``root`` in this order: the official archive unpacked (``cifar-100-python`` or
    ``cifar-100-binary``), then folders ``train`` and ``test`` of image files: a folder for each class, or a file
    for each class with its 32 x 32 images stacked from top to bottom, such as ``train/apple.webp``. The arguments are
    those of `ImageData`; mean and standard deviation are by default ImageNet's, as in the reference.
    """

    _archive = _Archive(
        dataset="CIFAR100",
        binary="cifar-100-binary",
        python="cifar-100-python",
        binary_files={"train": ("train.bin",), "test": ("test.bin",)},
        python_files={"train": ("train",), "test": ("test",)},
        binary_names="fine_label_names.txt",
        python_names=("meta", "fine_label_names"),
        label_bytes=2,
        label_key="fine_labels",
    )
