# SPDX-License-Identifier: Apache-2.0
"""Embeddings from files that other programs wrote, for models that were never trained here.

One file holds everything, or two hold a split each, or four hold one array each:

* one ``.safetensors`` or ``.npz`` with ``gallery``, ``gallery_labels``, ``query`` and ``query_labels``;
* gallery and query, each a ``.safetensors``, ``.npz`` or ``.parquet`` with ``embeddings`` and ``labels`` (tensors,
  arrays, or columns: lists of numbers, and integers or strings);
* gallery, gallery labels, query, query labels, each a ``.npy`` or a file with a single array.

Where a file names its arrays or columns otherwise, say which: ``train.parquet:vector``. Labels may be strings; gallery
and query share one numbering of them. Nothing is unpickled.
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

GIVEN = "given"
"""Stage of embeddings from a file: whatever checkpoint their author chose."""


def load_files(files: Sequence[str | Path], labels: EmbeddingSet | None = None) -> EmbeddingSet:
    """Read a labelled gallery and queries from one, two or four files.

    Args:
        files: paths, in the order gallery, (its labels,) query, (its labels). In groups of two and four a path may end
            in ``:NAME``, the array or column that holds the embeddings (of two) or that is meant (of four).
        labels: a set of the same rows, whose labels are taken where two files hold a single array each.

    Returns:
        The embeddings, named after the first file.

    Raises:
        FileNotFoundError: if there is no such file.
        ModuleNotFoundError: for Parquet without pyarrow.
        ValueError: for an unknown layout, with what was found.
        TypeError: for arrays of the wrong kind.
    """
    sources = [_source(file) for file in files]
    if len(sources) == 1:
        found = _pick(read_arrays(sources[0][0]), _PARTS, sources[0][0])
    elif len(sources) == 2 and labels is not None and _all_single(sources):
        rows = [_single(source) for source in sources]
        _check_counts(rows, labels)
        found = [rows[0], labels.gallery_labels, rows[1], labels.query_labels]
    elif len(sources) == 2:
        found = [array for source in sources for array in _split(source)]
    elif len(sources) == 4:
        found = [_single(source) for source in sources]
    else:
        raise ValueError(
            "`files` must be one file with everything, two (gallery, query), or four (gallery, gallery labels, query, "
            f"query labels); got {len(sources)}."
        )
    gallery, gallery_labels, query, query_labels = found
    numbers = _numbered(gallery_labels, query_labels)
    return EmbeddingSet(_tensor(gallery), numbers[0], _tensor(query), numbers[1], arm=sources[0][0].stem, stage=GIVEN)


def _source(file: str | Path) -> tuple[Path, str]:
    """Path, and the name of an array in it or nothing; a file that is called so wins."""
    head, colon, name = str(file).rpartition(":")
    return (
        (Path(head), name) if colon and Path(head).suffix in READERS and not Path(file).exists() else (Path(file), "")
    )


def _all_single(sources: Sequence[tuple[Path, str]]) -> bool:
    return all(name or path.suffix == ".npy" for path, name in sources)


def _check_counts(rows: Sequence[Tensor | Array], labels: EmbeddingSet) -> None:
    for name, found, expected in zip(("gallery", "query"), rows, (labels.gallery, labels.query), strict=True):
        if len(found) != len(expected):
            raise ValueError(
                f"`baseline` must hold the same rows in the same order; its {name} has {len(found)} rows, not "
                f"{len(expected)}."
            )


def _split(source: tuple[Path, str]) -> list[Tensor | Array]:
    path, name = source
    return _pick(read_arrays(path), (name or _SPLIT[0], _SPLIT[1]), path)


def read_arrays(path: Path) -> dict[str, Tensor | Array]:
    """Read every array of a file by name; a ``.npy`` has one, without a name.

    Raises:
        FileNotFoundError: if there is no such file.
        ModuleNotFoundError: for Parquet without pyarrow.
        ValueError: if the kind of file is unknown or the file is damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"`files` must exist; there is none at {path}.")
    if path.suffix not in READERS:
        raise ValueError(f"`files` must end in {', '.join(READERS)}; got {path.name}: convert it.")
    try:
        return READERS[path.suffix](path)
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


READERS = {".npy": _npy, ".npz": _npz, ".safetensors": _safetensors, ".parquet": _parquet}
"""Kinds of file, by the end of the name."""


def _column(column: Any) -> Array:  # noqa: ANN401  # pyarrow ships no types
    """A column as an array; a column of lists as a matrix, if all are of one length."""
    column = getattr(column, "storage", column)  # of an extension type, such as a tensor of fixed shape
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


def _single(source: tuple[Path, str]) -> Tensor | Array:
    path, name = source
    arrays = read_arrays(path)
    if name:
        return _pick(arrays, (name,), path)[0]
    if len(arrays) != 1:
        raise ValueError(
            f"`files` must hold one array each when there are four; {path} holds {', '.join(arrays)}: "
            f"write which, such as {path.name}:{next(iter(arrays), 'NAME')}."
        )
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
