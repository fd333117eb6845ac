# SPDX-License-Identifier: Apache-2.0
"""Embeddings from files that other programs wrote, for models that were never trained here.

One file holds everything, or two hold a split each, or four hold one array each:

* one ``.safetensors`` or ``.npz`` with ``gallery``, ``gallery_labels``, ``query`` and ``query_labels``;
* gallery and query, each a ``.safetensors``, ``.npz`` or ``.parquet`` with ``embeddings`` and ``labels`` (tensors,
  arrays, or columns: lists of numbers, and integers or strings);
* gallery, gallery labels, query, query labels, each a ``.npy`` or a file with a single array.

Labels may be strings; gallery and query share one numbering of them. Nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lightning_monocon.scorecard.embeddings import EmbeddingSet

Array = np.ndarray[Any, Any]
_PARTS = ("gallery", "gallery_labels", "query", "query_labels")
_SPLIT = ("embeddings", "labels")


def load_files(files: Sequence[str | Path]) -> EmbeddingSet:
    """Read a labelled gallery and queries from one, two or four files.

    Args:
        files: paths, in the order gallery, (its labels,) query, (its labels).

    Returns:
        The embeddings, named after the first file.

    Raises:
        FileNotFoundError: if there is no such file.
        ModuleNotFoundError: for Parquet without pyarrow.
        ValueError: for an unknown layout, with what was found.
        TypeError: for arrays of the wrong kind.
    """
    paths = [Path(file) for file in files]
    if len(paths) == 1:
        found = _pick(read_arrays(paths[0]), _PARTS, paths[0])
    elif len(paths) == 2:
        found = [array for path in paths for array in _pick(read_arrays(path), _SPLIT, path)]
    elif len(paths) == 4:
        found = [_single(path) for path in paths]
    else:
        raise ValueError(
            "`files` must be one file with everything, two (gallery, query), or four (gallery, gallery labels, query, "
            f"query labels); got {len(paths)}."
        )
    gallery, gallery_labels, query, query_labels = found
    labels = _numbered(gallery_labels, query_labels)
    return EmbeddingSet(_tensor(gallery), labels[0], _tensor(query), labels[1], arm=paths[0].stem)


def read_arrays(path: Path) -> dict[str, Tensor | Array]:
    """Read every array of a file by name; a ``.npy`` has one, without a name.

    Raises:
        FileNotFoundError: if there is no such file.
        ModuleNotFoundError: for Parquet without pyarrow.
        ValueError: if the kind of file is unknown or the file is damaged.
    """
    readers = {".npy": _npy, ".npz": _npz, ".safetensors": _safetensors, ".parquet": _parquet}
    if not path.is_file():
        raise FileNotFoundError(f"`files` must exist; there is none at {path}.")
    if path.suffix not in readers:
        raise ValueError(f"`files` must end in {', '.join(readers)}; got {path.name}: convert it.")
    try:
        return readers[path.suffix](path)
    except (ValueError, OSError, EOFError, SafetensorError) as error:
        raise ValueError(f"`files` must be whole {path.suffix} files; {path} is not: {error}.") from error


def _npy(path: Path) -> dict[str, Tensor | Array]:
    return {"": np.load(path, allow_pickle=False)}


def _npz(path: Path) -> dict[str, Tensor | Array]:
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def _safetensors(path: Path) -> dict[str, Tensor | Array]:
    return dict(load_file(path))


def _parquet(path: Path) -> dict[str, Tensor | Array]:
    try:
        parquet: Any = import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"`files` in Parquet need pyarrow; {path} is one: `pip install pyarrow`.") from error
    table = parquet.read_table(path)
    return {name: _column(table.column(name).combine_chunks()) for name in table.column_names}


def _column(column: Any) -> Array:  # noqa: ANN401  # pyarrow ships no types
    """A column as an array; a column of lists as a matrix, if all are of one length."""
    if not hasattr(column.type, "value_type"):
        array: Array = column.to_numpy(zero_copy_only=False)
        return array if array.dtype.kind != "O" else np.asarray(column.to_pylist())
    if column.null_count or len(column) == 0:
        raise ValueError("a column of lists is empty or has gaps")
    fixed = hasattr(column.type, "list_size")
    lengths = np.array([column.type.list_size]) if fixed else np.diff(column.offsets.to_numpy())
    if lengths.min() != lengths.max():
        raise ValueError(f"the lists of a column have lengths {lengths.min()} to {lengths.max()}")
    return np.asarray(column.flatten().to_numpy(zero_copy_only=False)).reshape(len(column), -1)


def _pick(arrays: dict[str, Tensor | Array], names: Sequence[str], path: Path) -> list[Tensor | Array]:
    if missing := [name for name in names if name not in arrays]:
        raise ValueError(
            f"`files` must hold {', '.join(names)} here; {path} lacks {', '.join(missing)} and holds "
            f"{', '.join(sorted(filter(None, arrays))) or 'one array without a name'}."
        )
    return [arrays[name] for name in names]


def _single(path: Path) -> Tensor | Array:
    arrays = read_arrays(path)
    if len(arrays) != 1:
        raise ValueError(f"`files` must hold one array each when there are four; {path} holds {', '.join(arrays)}.")
    return next(iter(arrays.values()))


def _numbered(gallery: Tensor | Array, query: Tensor | Array) -> tuple[Tensor, Tensor]:
    """Labels as integers; strings are numbered in alphabetical order over both splits."""
    arrays = [np.asarray(labels) for labels in (gallery, query)]
    if all(array.dtype.kind in "US" and array.ndim == 1 for array in arrays):
        _, numbers = np.unique(np.concatenate(arrays), return_inverse=True)
        arrays = np.split(numbers, [len(arrays[0])])
    return _tensor(arrays[0]), _tensor(arrays[1])


def _tensor(array: Tensor | Array) -> Tensor:
    if isinstance(array, Tensor):
        return array
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"`files` must hold numbers, or strings as labels of both splits; got an array of {array.dtype}."
        )
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))
