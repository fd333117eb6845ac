# SPDX-License-Identifier: Apache-2.0
"""Read named arrays from files that other programs wrote: only what is asked for is read, and nothing is unpickled."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from safetensors import safe_open
from torch import Tensor

from lightning_monocon.scorecard.columns import column_as_array, import_parquet, plain_chunks
from lightning_monocon.scorecard.embeddings import Rows, native

NPY, PARQUET = ".npy", ".parquet"
_MOST_EXPANSION = 1032
"""How many bytes deflate can make of one: a member of a .npz that claims more is not whole."""


class _NotPlainError(TypeError):
    """An array of a whole file is of a kind that is never read."""


class _Kind(NamedTuple):
    """How a kind of file is read."""

    names: Callable[[Path], list[str]]
    read: Callable[[Path, str], Any]


def array_names(path: Path) -> list[str]:
    """Return the names of the arrays in a file, without reading them; a ``.npy`` has one, the empty name.

    Raises:
        FileNotFoundError: If there is no such file.
        ModuleNotFoundError: For Parquet without pyarrow.
        ValueError: If the kind of file is unknown or the file is damaged.
    """
    if path.is_dir():
        raise ValueError(f"`files` must be files here; {path} is a folder: name a file in it.")
    if not path.is_file():
        raise FileNotFoundError(f"`files` must exist; there is none at {path}.")
    if path.suffix not in KINDS:
        raise ValueError(
            f"`files` must end in {', '.join(KINDS)}; got {path.name}: write its rows to a {PARQUET} file with their "
            "vectors as column embedding (embed texts with a model first) and, if there are any, columns id and label."
        )
    with whole_file(path):
        return KINDS[path.suffix].names(path)


def read_array(path: Path, name: str) -> Rows:
    """Return one array of a file, as a tensor or as an array of numbers or strings in the machine's byte order.

    Args:
        path: The file.
        name: One of its `array_names`.

    Raises:
        ModuleNotFoundError: For Parquet without pyarrow.
        ValueError: If the file is damaged, or a column has gaps or lists of several lengths.
        TypeError: If the array holds neither numbers nor strings.
        MemoryError: If a whole file holds more than fits into memory.
    """
    with whole_file(path):
        found = KINDS[path.suffix].read(path, name)
    where = f"{path}:{name}" if name else str(path)
    if path.suffix == PARQUET:
        found = column_as_array(where, found)
    return found if isinstance(found, Tensor) else native("files", found, where)


@contextmanager
def whole_file(path: Path) -> Iterator[None]:
    """Say that a file is damaged, whatever the library that reads it calls that.

    Altered bytes make NumPy raise ValueError, EOFError, SyntaxError or TokenError, zipfile and zlib errors of their
    own, and pyarrow half a dozen more: there is no list to rely on.
    """
    try:
        yield
    except _NotPlainError as error:
        raise TypeError(str(error)) from error  # the class itself, in whose text callers name their own argument
    except ModuleNotFoundError:
        raise
    except MemoryError as error:
        raise MemoryError(f"`files` must fit into memory; {path} does not: {error}.") from error
    except Exception as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise ValueError(f"`files` must be whole {path.suffix} files; {path} is not: {reason}.") from error


def _npy_names(path: Path) -> list[str]:
    with path.open("rb") as file:
        _header(file)
    return [""]


def _npy(path: Path, _: str) -> Rows:
    with path.open("rb") as file:
        return _array(file, path.stat().st_size, path.name)


def _npz_names(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return [name.removesuffix(NPY) for name in archive.namelist() if name.endswith(NPY)]


def _npz(path: Path, name: str) -> Rows:
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo(name + NPY)
        if member.compress_size > path.stat().st_size or member.file_size > _MOST_EXPANSION * member.compress_size:
            raise ValueError(f"{member.filename} claims {member.file_size:,} bytes, more than the file can hold")
        with archive.open(member) as file:
            return _array(file, member.file_size, f"{path.name}:{name}")


def _array(file: IO[bytes], size: int, where: str) -> Rows:
    """Read an array after its header, which is checked first: NumPy would reserve whatever memory it claims."""
    shape, dtype = _header(file)
    if dtype.hasobject:
        raise _NotPlainError(
            f"`files` must hold numbers, or strings as labels; {where} holds Python objects, which are never "
            "unpickled: save strings as `np.array(labels, dtype=str)`."
        )
    claimed, there = math.prod(shape) * max(dtype.itemsize, 1), size - file.tell()
    if min(shape, default=0) < 0 or claimed != there:
        raise ValueError(f"its header claims the shape {shape} of {dtype}, {claimed:,} bytes, and {there:,} follow")
    file.seek(0)
    array: Rows = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape and dtype that a .npy announces."""
    version = np.lib.format.read_magic(file)
    # version 3.0, which names fields of records in UTF-8, holds nothing that is read here
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


def _safetensors_names(path: Path) -> list[str]:
    with safe_open(path, framework="pt") as file:
        return list(file.keys())


def _safetensors(path: Path, name: str) -> Rows:
    with safe_open(path, framework="pt") as file:
        tensor: Tensor = file.get_tensor(name)
    return tensor


def _parquet_names(path: Path) -> list[str]:
    return list(import_parquet(path).ParquetFile(path).schema_arrow.names)


def _parquet(path: Path, name: str) -> list[Any]:
    return plain_chunks(import_parquet(path).ParquetFile(path).read(columns=[name]).column(name))


KINDS = {
    NPY: _Kind(_npy_names, _npy),
    ".npz": _Kind(_npz_names, _npz),
    ".safetensors": _Kind(_safetensors_names, _safetensors),
    PARQUET: _Kind(_parquet_names, _parquet),
}
"""Kinds of file, by the end of the name."""
