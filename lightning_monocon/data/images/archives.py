# SPDX-License-Identifier: Apache-2.0
"""Read and download the files in which MNIST-like data sets and CIFAR are published."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_monocon.data.images.table import ImageTable
from lightning_monocon.encoders.image.torchvision_model import import_torchvision

_SIDE, _PIXELS = 32, 3 * 32 * 32  # CIFAR


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Return the array of an IDX file of bytes, gzipped or not; raise ValueError if it is no such file or cut short."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        zeros, kind, ndim = struct.unpack(">HBB", raw[:4])
        shape = struct.unpack(f">{ndim}I", raw[4 : 4 + 4 * ndim])
    except (OSError, EOFError, struct.error, zlib.error) as error:
        raise ValueError(f"{str(path)!r} must be an IDX file, but is damaged: {error}.") from error
    data = np.frombuffer(raw, np.uint8, offset=4 + 4 * ndim)
    if zeros or kind != 8 or len(data) != np.prod(shape):  # 8: unsigned bytes
        raise ValueError(
            f"{str(path)!r} must be an IDX file of bytes of shape {shape}, but holds {len(data)} bytes of kind {kind}."
        )
    return data.reshape(shape)


def read_cifar_binary(files: Sequence[Path], label_bytes: int, classes: Sequence[str]) -> ImageTable:
    """Return the images of CIFAR's binary files; of several label bytes the last, the fine label, counts.

    Raises:
        ValueError: If a file is not a whole number of records, or a label is out of range.
    """
    record = label_bytes + _PIXELS
    parts = [np.fromfile(path, np.uint8) for path in files]
    for path, part in zip(files, parts, strict=True):
        if not len(part) or len(part) % record:
            raise ValueError(f"{str(path)!r} must hold records of {record} bytes, but has {len(part)} bytes.")
    rows = np.concatenate(parts).reshape(-1, record)
    labels = rows[:, label_bytes - 1].astype(np.int64)
    return ImageTable(_images(rows[:, label_bytes:]), labels, tuple(classes)).checked(str(files[0].parent))


def read_cifar_python(files: Sequence[Path], label_key: str, classes: Sequence[str]) -> ImageTable:
    """Return the images of CIFAR's pickled files, from which only arrays and plain values are loaded.

    Raises:
        ValueError: If a file holds anything else, or a label is out of range.
    """
    batches = [read_plain_pickle(path) for path in files]
    try:
        images = np.concatenate([np.asarray(batch["data"]) for batch in batches])
        labels = np.concatenate([np.asarray(batch[label_key]) for batch in batches])
    except KeyError as error:
        raise ValueError(f"{str(files[0])!r} must hold 'data' and {label_key!r}; {error} is missing.") from error
    if images.dtype != np.uint8 or images.shape[1:] != (_PIXELS,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"{str(files[0])!r} must hold bytes of shape (N, {_PIXELS}) in 'data' and integers in {label_key!r}; it "
            f"has {images.dtype} of shape {images.shape} and {labels.dtype}."
        )
    return ImageTable(_images(images), labels.astype(np.int64), tuple(classes)).checked(str(files[0].parent))


def read_plain_pickle(path: Path) -> dict[str, Any]:
    """Return a pickled dict whose keys are text or bytes and whose values are arrays and plain values.

    Raises:
        ValueError: If the file holds code, or is damaged.
    """
    try:
        content = _PlainUnpickler(io.BytesIO(path.read_bytes()), encoding="bytes").load()
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, AttributeError) as error:
        raise ValueError(f"{str(path)!r} must hold arrays and plain values only: {error}") from error
    return {key.decode() if isinstance(key, bytes) else key: value for key, value in content.items()}


class _PlainUnpickler(pickle.Unpickler):
    """Unpickle arrays and plain values only."""

    _ALLOWED = frozenset(
        (module, name)
        for module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy")
        for name in ("_reconstruct", "ndarray", "dtype")
    )

    def find_class(self, module: str, name: str) -> object:
        """Return the class of an allowed name."""
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        if module.startswith("numpy.") and name == "_reconstruct":
            return np.empty(0).__reduce__()[0]  # the same function under the name that this NumPy gives it
        return super().find_class(module, name)


def _images(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(rows.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1))


def download(dataset: str, root: Path) -> None:
    """Let torchvision download and unpack a data set of its own into ``root``.

    Raises:
        RuntimeError: If torchvision does not import, or the download fails.
    """
    kind = getattr(import_torchvision("torchvision.datasets"), dataset)
    try:
        for train in (True, False):
            kind(str(root), train=train, download=True)
    except OSError as error:
        raise RuntimeError(
            f"`download` needs a network; {dataset} could not be downloaded ({type(error).__name__}: {error}). Put its "
            f"files into {str(root)!r}, or give their folder as `root`."
        ) from error
