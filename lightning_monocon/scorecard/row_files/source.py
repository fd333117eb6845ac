# SPDX-License-Identifier: Apache-2.0
"""Say what a stream of embeddings is, and cut it into blocks of one size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_monocon.functional.checks import all_finite
from lightning_monocon.functional.truncation_curve import TILE
from lightning_monocon.inference.shards import Ids

BLOCK = TILE
"""Rows of a block: those of one tile of a gallery in memory, so that both are computed with the same numbers."""


class Piece(NamedTuple):
    """Hold some rows of a file.

    Attributes:
        file: Name of the file, for messages.
        start: Number of the first row in the file.
        rows: ``(B, D)``, any B, floating dtype.
    """

    file: str
    start: int
    rows: Tensor


class RowSource(Protocol):
    """Give the rows of one embedding, as often as asked and always in one order.

    Attributes:
        length: N, number of rows.
        width: D.
        dtype: What blocks have: float32, or float64 if a file has it.
        has_ids: Whether rows have ids; otherwise `ids` gives their numbers.
        named: Whether rows have ids that are texts, which mean the same thing in every file; numbers of a gallery and
            of a query rarely do.
    """

    @property
    def length(self) -> int: ...  # noqa: D102  (documented above)
    @property
    def width(self) -> int: ...  # noqa: D102
    @property
    def dtype(self) -> torch.dtype: ...  # noqa: D102
    @property
    def has_ids(self) -> bool: ...  # noqa: D102
    @property
    def named(self) -> bool: ...  # noqa: D102

    def pieces(self) -> Iterator[Piece]:
        """Yield all rows, in pieces that may have any length."""
        ...

    def ids(self) -> Iterator[Ids]:
        """Yield the ids of all rows in the same order, in arrays that may have any length; row numbers without ids."""
        ...

    def labels(self) -> NDArray[Any] | None:
        """Return the labels ``(N,)`` of all rows, integers or texts; None if there are none."""
        ...


def blocks_of(source: RowSource) -> Iterator[Tensor]:
    """Yield the rows of a source in blocks ``(BLOCK, D)``, the last one shorter, in ``source.dtype``.

    Raises:
        ValueError: If a piece has another width, or a row is not finite; the message names file and row.
    """
    block, filled = torch.empty(0), 0
    for piece in source.pieces():
        rows = _checked(piece, source.width)
        while len(rows):
            if not filled:  # not the last block again, which a caller may keep
                block = torch.empty(BLOCK, source.width, dtype=source.dtype)
            part = rows[: BLOCK - filled]
            block[filled : filled + len(part)] = part
            filled, rows = filled + len(part), rows[len(part) :]
            if filled == BLOCK:
                yield block
                filled = 0
    if filled:
        yield block[:filled]


def whole_of(source: RowSource) -> Tensor:
    """Return all rows of a source ``(N, D)``, for queries and other sides that fit into memory."""
    return torch.cat(list(blocks_of(source)))


def check_filled(paths: Sequence[Path], rows: int) -> None:
    """Raise ValueError if files have no rows."""
    if not rows:
        shown = f"{paths[0]} has" if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more have"
        raise ValueError(f"`files` must hold at least one row; {shown} no rows. Embed them, or name other files.")


def check_matrix(path: Path, name: str, shape: Sequence[int], dtype: torch.dtype) -> None:
    """Raise ValueError unless an array or column of embeddings ``(N, D)`` has rows of floating-point numbers.

    Args:
        path: The file.
        name: The array; empty for the only one of a ``.npy`` file.
        shape: Of the array.
        dtype: Of its numbers.
    """
    check_filled([path], shape[0] if shape else 1)
    if len(shape) == 2 and shape[1] and dtype.is_floating_point:
        return
    remedy = "convert integers to float32" if len(shape) == 2 and shape[1] else "write a matrix of one row a vector"
    other = f", or name another array, such as {path.name}:NAME" if name else ""
    raise ValueError(
        f"`files` must hold rows of floating-point numbers; {path}{name and ':'}{name} holds {dtype} of shape "
        f"{tuple(shape)}: {remedy}{other}."
    )


def lacking(path: Path, wanted: str, there: Sequence[str], are_ids: bool = False) -> ValueError:
    """Return an error that a file lacks an array or column.

    Args:
        path: The file.
        wanted: The names that were looked for, in words.
        there: The names that it has.
        are_ids: Whether ids were looked for; otherwise embeddings.
    """
    named = ", ".join(filter(None, there))
    if are_ids:
        remedy = "name another column of ids, or none for row numbers"
    elif named:
        remedy = f"name the embeddings behind the file, such as {path.name}:NAME"
    else:
        remedy = "leave the name out"
    held = named or ("one array without a name" if there else "nothing")
    return ValueError(f"`files` must hold {wanted} here; {path} holds {held}: {remedy}.")


def _checked(piece: Piece, width: int) -> Tensor:
    rows = piece.rows
    if rows.ndim != 2 or rows.shape[1] != width:
        raise ValueError(
            f"`files` must hold rows of one width; those before have {width} numbers and {piece.file} has the shape "
            f"{tuple(rows.shape)} from row {piece.start} on. Embed all with one model."
        )
    if all_finite(rows):
        return rows
    broken = torch.nonzero(~torch.isfinite(rows).all(1)).flatten()
    if len(broken):
        raise ValueError(
            f"`files` must be finite; row {piece.start + int(broken[0])} of {piece.file} holds NaN or infinity"
            f"{f', and {len(broken) - 1} of the next {len(rows)} rows' if len(broken) > 1 else ''}. Embed it again."
        )
    return rows
