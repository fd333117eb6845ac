# SPDX-License-Identifier: Apache-2.0
"""Small data sets on disk in every form that the data modules read."""

from __future__ import annotations

import gzip
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

NAMES = ("apple", "bear", "chair")


def pixels(count: int, side: int = 32, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, channels), np.uint8)


def class_folders(folder: Path, per_class: int = 6, side: int = 32, seed: int = 0) -> NDArray[np.uint8]:
    """A PNG file an image; returns the images in the order of classes and names."""
    images = pixels(per_class * len(NAMES), side, seed=seed)
    for i, image in enumerate(images):
        path = folder / NAMES[i // per_class] / f"{i:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return images


def strips(folder: Path, per_class: int = 6, seed: int = 0) -> NDArray[np.uint8]:
    """A lossless WebP file a class, its images stacked."""
    images = pixels(per_class * len(NAMES), seed=seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in zip(NAMES, images.reshape(len(NAMES), -1, 32, 3), strict=True):
        Image.fromarray(part).save(folder / f"{name}.webp", lossless=True)
    return images


def cifar100_binary(root: Path, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
    folder = root / "cifar-100-binary"
    folder.mkdir(parents=True)
    (folder / "fine_label_names.txt").write_text("\n".join(NAMES) + "\n")
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    rows = np.concatenate([np.full((len(images), 1), 9, np.uint8), labels[:, None], planes], axis=1)
    for name in ("train.bin", "test.bin"):
        (folder / name).write_bytes(rows.tobytes())


def cifar10_python(root: Path, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [name.encode() for name in NAMES]}))
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    content = pickle.dumps({b"data": planes, b"labels": labels.tolist()})
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (folder / name).write_bytes(content)


def idx(path: Path, array: NDArray[np.uint8]) -> None:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(header + array.tobytes()))


def fashion_mnist(root: Path, train: int = 40, test: int = 20) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Returns the train images ``(N, 28, 28)`` and labels."""
    images = pixels(train, 28, 1)[..., 0]
    labels = (np.arange(train) % 10).astype(np.uint8)
    for prefix, count in (("train", train), ("t10k", test)):
        idx(root / f"{prefix}-images-idx3-ubyte.gz", images[:count])
        idx(root / f"{prefix}-labels-idx1-ubyte.gz", labels[:count])
    return images, labels


def tiff(path: Path, values: NDArray[np.generic], photometric: int = 1, twelve_bits: bool = False) -> None:
    """An uncompressed grey TIFF of any depth, written by hand: Pillow itself writes few of them."""
    content = values.tobytes()
    if twelve_bits:  # two values in three bytes
        first, second = values.reshape(-1, 2).astype(np.uint16).T
        content = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], 1).astype(np.uint8).tobytes()
    order = "MM" if values.dtype.byteorder == ">" else "II"
    kinds = {"i": 2, "f": 3}
    height, width = values.shape
    tags = {256: width, 257: height, 258: 12 if twelve_bits else values.itemsize * 8, 259: 1, 262: photometric, 273: 0}
    tags |= {277: 1, 278: height, 279: len(content)}
    if values.dtype.kind != "u":
        tags[339] = kinds[values.dtype.kind]  # a file that does not state it holds unsigned values
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    mark = ">" if order == "MM" else "<"
    header = order.encode() + struct.pack(mark + "HIH", 42, 8, len(tags))
    header += b"".join(struct.pack(mark + "HHII", tag, 4, 1, value) for tag, value in tags.items())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + struct.pack("I", 0) + content)


def png16(path: Path, values: NDArray[np.uint16], chunks: dict[bytes, bytes] | None = None) -> None:
    """A PNG of 16 bits and 1 to 4 channels ``(H, W, C)``, written by hand, with further chunks before the pixels."""
    height, width, channels = values.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    parts = {b"IHDR": struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0), **(chunks or {})}
    parts |= {b"IDAT": zlib.compress(rows), b"IEND": b""}
    content = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts.items()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
